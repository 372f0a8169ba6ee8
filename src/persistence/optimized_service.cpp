#include "base/mutex.h"
#include "persistence/async_calls.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/save/batcher.h"
#include "persistence/save/head_cache.h"
#include "persistence/save/request_rules.h"
#include "persistence/save/save_committer.h"
#include "persistence/save/save_errors.h"
#include "persistence/save/save_preparer.h"
#include "persistence/save_observation.h"
#include "persistence/service_core.h"
#include "persistence/service_gate.h"
#include "persistence/service_stats.h"

#include <cairn/persistence.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

namespace cairn {
namespace {

// The receipt of a save that shares the fate of an equal one. It has the version of that one.
Receipt shared(const SnapshotInfo& info) {
    return {.snapshot_id = info.snapshot_id, .outcome = Outcome::kDeduplicated};
}

}  // namespace

struct OptimizedStatePersistence::Impl {
    Impl(std::shared_ptr<Store> store, const OptimizedOptions& options)
        : shared_core(std::make_shared<ServiceCore>(std::move(store), options)),
          observation(options),
          standard(shared_core),
          cache(options.cache_max_size, options.cache_max_bytes),
          stats(options.enable_monitoring),
          latest_only(options.latest_only),
          committer(core, cache, stats),
          batcher(
              std::max<std::size_t>(core.store->commits_at_once(), 1), options.batch_limits, options.queue_limits,
              [this](std::span<const Save> saves, Deadline until) { committer.commit(saves, until); },
              [this](const SaveJob& job, const Error& error) { report_lost(job, error); }),
          preparer(core, options, cache, batcher, stats) {}

    /// A save under way whose end the caller waits for.
    struct Awaited {
        Save save;
        std::optional<Receipt> own;  ///< This caller's, if the save is another one's; made while there is memory.
        Deadline deadline;           ///< The time until which this caller waits.
    };
    /// A save that has begun: its receipt, or the save under way that will have it.
    using Begun = std::variant<Receipt, Awaited>;

    Result<Begun> begin(const StatePersistenceRequest& request, bool is_awaited);
    /// Empty: the save is to be prepared once more.
    using MaybeBegun = Result<std::optional<Begun>>;
    MaybeBegun take(SkippedSave& skipped, const StatePersistenceRequest& request, bool is_awaited, Deadline until);
    MaybeBegun take(SharedSave& shared, const StatePersistenceRequest& request, bool is_awaited, Deadline until);
    MaybeBegun take(NewSave& made, const StatePersistenceRequest& request, bool is_awaited, Deadline until);
    Begun queued(const Save& save, const StatePersistenceRequest& request, bool is_shared, Deadline until) const;
    bool share(const StatePersistenceRequest& request, const Save& twin, Deadline until);
    Result<Begun> refuse(const StatePersistenceRequest& request, Error error, Deadline deadline);
    Result<Begun> fall_back(const StatePersistenceRequest& request, std::string snapshot_id, Deadline deadline,
                            Error cause);
    Result<Receipt> end(Begun begun);

    void save_async(const StatePersistenceRequest& request, const SaveCompletion& done);
    Status begin_async(const StatePersistenceRequest& request, const SaveCompletion& done);
    Result<LoadedState> load_state(const LoadRequest& request);
    Result<RecoveryResult> recover(const StateRecoveryRequest& request);

    void report_lost(const SaveJob& job, const Error& error);

    static std::unexpected<Error> closed_by_fork_error() {
        return fail(ErrorCode::kClosed, "the service was made by the process that this one was forked from");
    }
    /// Calls `work` unless the service is closed; `close` waits for it.
    template <class Work>
    auto while_open(const Work& work) -> decltype(work()) {
        if (gate.is_forked()) return closed_by_fork_error();
        return gate.while_open(work);
    }
    Status close();

    const std::shared_ptr<ServiceCore> shared_core;
    ServiceCore& core = *shared_core;
    ServiceGate gate;
    const SaveObservation observation;
    StatePersistenceService standard;  // only for callers of `fallback_service`: a fallback is made with the core
    HeadCache cache;
    ServiceStats stats;
    const bool latest_only;
    Mutex configuring;
    SaveCommitter committer;
    Batcher batcher;
    SavePreparer preparer;
};

// Works inside the run's lane, so that the saves of a run find each other's heads and are queued in call order.
Result<OptimizedStatePersistence::Impl::Begun> OptimizedStatePersistence::Impl::begin(
    const StatePersistenceRequest& request, bool is_awaited) {
    if (Status status = core.check(request); !status) return std::unexpected(std::move(status.error()));
    if (request.is_critical()) stats.count_critical();
    const Deadline until = core.deadline(request.timeout);
    const Batcher::InLane in_lane(batcher);
    const Result<RunLanes::Turn> turn = core.lanes.enter(request.run_id, until);
    if (!turn) return std::unexpected(turn.error());
    for (bool may_replace = latest_only;; may_replace = false) {
        std::string id;  // made when something is written: a skip has no use for it
        Result<PreparedSave> prepared = guarded([&] { return preparer.prepare(request, id, until, may_replace); });
        if (!prepared) {
            if (is_final(prepared.error().code)) return refuse(request, std::move(prepared.error()), until);
            return fall_back(request, std::move(id), until, std::move(prepared.error()));
        }
        MaybeBegun begun = std::visit([&](auto& save) { return take(save, request, is_awaited, until); }, *prepared);
        if (!begun) return std::unexpected(std::move(begun.error()));
        if (*begun) return std::move(**begun);
    }
}

OptimizedStatePersistence::Impl::MaybeBegun OptimizedStatePersistence::Impl::take(
    SkippedSave& skipped, const StatePersistenceRequest& /*request*/, bool /*is_awaited*/, Deadline /*until*/) {
    return Begun(std::move(skipped.receipt));
}

OptimizedStatePersistence::Impl::MaybeBegun OptimizedStatePersistence::Impl::take(
    SharedSave& shared, const StatePersistenceRequest& request, bool /*is_awaited*/, Deadline until) {
    Begun begun = queued(shared.twin, request, true, until);
    if (share(request, shared.twin, until)) return begun;
    if (std::chrono::steady_clock::now() < until) return std::nullopt;
    return still_queued_error(request.run_id);
}

// The save that this one was prepared on, or was to replace, may have gone meanwhile.
OptimizedStatePersistence::Impl::MaybeBegun OptimizedStatePersistence::Impl::take(
    NewSave& made, const StatePersistenceRequest& request, bool is_awaited, Deadline until) {
    Begun begun = queued(made.save, request, false, until);
    if (made.replaces) {
        if (!batcher.replace(made.replaces, made.save)) return std::nullopt;
    } else {
        const bool is_waited_for = is_awaited && preparer.wanted_durability(request) == Durability::kSync;
        const Result<bool> is_queued = batcher.submit(made.save, is_waited_for, until);
        if (!is_queued) return std::unexpected(is_queued.error());
        if (!*is_queued) return std::nullopt;
    }
    return begun;
}

// The save as it will have begun. Made before that, because afterwards nothing may fail. A `sync` save is waited for;
// any other is acknowledged.
OptimizedStatePersistence::Impl::Begun OptimizedStatePersistence::Impl::queued(const Save& save,
                                                                               const StatePersistenceRequest& request,
                                                                               bool is_shared, Deadline until) const {
    const Durability wanted = preparer.wanted_durability(request);
    const SnapshotInfo& info = save->job.becomes->info;
    if (wanted == Durability::kSync) {
        return Awaited{.save = save, .own = is_shared ? std::optional(shared(info)) : std::nullopt, .deadline = until};
    }
    return Receipt{.snapshot_id = info.snapshot_id,
                   .outcome = Outcome::kQueued,
                   .durability = wanted,
                   .version = info.version,
                   .frame_bytes = info.frame_bytes};
}

// Returns false if the commit of the equal save had begun: it need not be the head any more.
bool OptimizedStatePersistence::Impl::share(const StatePersistenceRequest& request, const Save& twin, Deadline until) {
    const Durability wanted = preparer.wanted_durability(request);
    const bool is_acknowledged = wanted != Durability::kSync;
    const Deadline needed_until = is_acknowledged ? std::max(until, core.deadline({})) : until;
    if (!batcher.share(twin, is_acknowledged, needed_until)) return false;
    if (wanted != Durability::kExit) batcher.release(request.run_id);
    return true;
}

Result<OptimizedStatePersistence::Impl::Begun> OptimizedStatePersistence::Impl::refuse(
    const StatePersistenceRequest& request, Error error, Deadline deadline) {
    Result<Receipt> receipt = core.writer->refuse(request, request.snapshot_id, std::move(error), deadline);
    if (!receipt) return std::unexpected(std::move(receipt.error()));
    return std::move(*receipt);
}

// Makes the save behind the queued saves of the run.
Result<OptimizedStatePersistence::Impl::Begun> OptimizedStatePersistence::Impl::fall_back(
    const StatePersistenceRequest& request, std::string snapshot_id, Deadline deadline, Error cause) {
    if (Status status = batcher.drain(request.run_id, deadline); !status) {
        return std::unexpected(std::move(status.error()));
    }
    if (snapshot_id.empty()) snapshot_id = core.snapshot_id(request);
    Result<Receipt> receipt = committer.fall_back(request, snapshot_id, core.writer->required_version(request),
                                                  deadline, std::move(cause), false);
    if (!receipt) return std::unexpected(std::move(receipt.error()));
    return std::move(*receipt);
}

Result<Receipt> OptimizedStatePersistence::Impl::end(Begun begun) {
    auto* const awaited = std::get_if<Awaited>(&begun);
    if (awaited == nullptr) return std::get<Receipt>(std::move(begun));
    if (!awaited->own) return batcher.wait(std::move(awaited->save), awaited->deadline);
    return batcher.wait_for_other(std::move(awaited->save), std::move(*awaited->own), awaited->deadline);
}

void OptimizedStatePersistence::Impl::save_async(const StatePersistenceRequest& request, const SaveCompletion& done) {
    const Status begun = while_open([&] { return begin_async(request, done); });
    if (!begun) tell<Receipt>(done, std::unexpected(begun.error()));  // closed, or no memory to begin
}

// On an error, `done` has not been called and will not be.
Status OptimizedStatePersistence::Impl::begin_async(const StatePersistenceRequest& request,
                                                    const SaveCompletion& done) {
    SaveCompletion counted = [this, timer = stats.start(), state_bytes = request.state_data.size_bytes(),
                              done](Result<Receipt> receipt) {
        stats.count_save(receipt, state_bytes, timer);
        tell<Receipt>(done, std::move(receipt));
    };
    Result<Begun> begun = guarded([&] { return begin(request, false); });
    if (!begun) {
        counted(std::unexpected(std::move(begun.error())));
    } else if (auto* const awaited = std::get_if<Awaited>(&*begun)) {
        batcher.tell(std::move(awaited->save), std::move(counted), std::move(awaited->own));
    } else {
        counted(std::get<Receipt>(std::move(*begun)));
    }
    return {};
}

Result<LoadedState> OptimizedStatePersistence::Impl::load_state(const LoadRequest& request) {
    if (Status status = check_load_request(request); !status) return std::unexpected(std::move(status.error()));
    const Deadline until = core.deadline(request.timeout);
    if (Status status = batcher.drain(request.run_id, until); !status) {
        return std::unexpected(std::move(status.error()));
    }
    if (!request.snapshot_id) {
        const std::optional<std::int64_t> seen = core.writer->seen().find(request.run_id);
        const Result<std::optional<Head>> head = core.store->head(request.run_id, until);
        if (!head) return std::unexpected(head.error());
        const auto cached = cache.find(request.run_id);
        if (*head && cached && cached->is(**head) && is_owned(cached->info, request)) {
            core.writer->seen().note_read(request.run_id, cached->info.version, seen);
            return LoadedState{.state = cached->state, .info = cached->info};
        }
    }
    Result<ChainedState> loaded = core.load(request, until);
    if (!loaded) return std::unexpected(std::move(loaded.error()));
    if (!request.snapshot_id) cache.put(cached_head(*loaded));
    return std::move(*loaded);
}

Result<RecoveryResult> OptimizedStatePersistence::Impl::recover(const StateRecoveryRequest& request) {
    const Deadline until = core.deadline(request.timeout);
    const Batcher::InLane in_lane(batcher);
    const Result<RunLanes::Turn> turn = core.lanes.enter(request.run_id, until);
    if (!turn) return std::unexpected(turn.error());
    if (Status status = batcher.drain(request.run_id, until); !status) {
        return std::unexpected(std::move(status.error()));
    }
    return core.recovery.recover(request, until);
}

Status OptimizedStatePersistence::Impl::close() {
    gate.close();
    batcher.refuse();
    gate.wait_for_calls();
    return batcher.close();
}

void OptimizedStatePersistence::Impl::report_lost(const SaveJob& job, const Error& error) {
    stats.count_lost();
    observation.tell_lost(job.request, error);
    core.options.runtime.log({.level = LogLevel::kError,
                              .event = "save_lost",
                              .message = error.to_string(),
                              .fields = {{"run_id", job.request.run_id},
                                         {"snapshot_id", job.becomes->info.snapshot_id},
                                         {"cause", std::string(error_info(error.code).name)}}});
}

OptimizedStatePersistence::OptimizedStatePersistence(std::shared_ptr<Store> store, const OptimizedOptions& options)
    : StatePersistence(options.executor, options.timeout), impl_(std::make_unique<Impl>(std::move(store), options)) {}

OptimizedStatePersistence::~OptimizedStatePersistence() {
    if (impl_->gate.is_forked()) {
        // The threads do not exist in this process, and locks may be held for ever.
        [[maybe_unused]] const Impl* left_to_the_parent = impl_.release();
        return;
    }
    [[maybe_unused]] const Status closed = close();
    end_async_calls();
}

Result<Receipt> OptimizedStatePersistence::save_agent_state(const StatePersistenceRequest& request) {
    const auto timer = impl_->stats.start();
    return impl_->observation.of(request, [&] {
        Result<Receipt> receipt = impl_->while_open([&]() -> Result<Receipt> {
            Result<Impl::Begun> begun = impl_->begin(request, true);
            if (!begun) return std::unexpected(std::move(begun.error()));
            return impl_->end(std::move(*begun));
        });
        impl_->stats.count_save(receipt, request.state_data.size_bytes(), timer);
        return receipt;
    });
}

StatePersistence::Submitted OptimizedStatePersistence::save_agent_state_async(const StatePersistenceRequest& request,
                                                                              SaveCompletion done) {
    return async_calls().make<StatePersistenceRequest, Receipt>(
        *this, request.run_id, request.timeout, request,
        [](StatePersistence& service, StatePersistenceRequest& save, std::chrono::milliseconds left,
           const SaveCompletion& told) {
            save.timeout = left;
            static_cast<OptimizedStatePersistence&>(service).impl_->save_async(save, told);
        },
        impl_->observation.before(std::move(done), request));
}

void OptimizedStatePersistence::save_async(const StatePersistenceRequest& request, SaveCompletion done) {
    impl_->save_async(request, impl_->observation.before(std::move(done), request));
}

std::future<Result<Receipt>> OptimizedStatePersistence::save_async(const StatePersistenceRequest& request) {
    const auto promise = std::make_shared<std::promise<Result<Receipt>>>();
    std::future<Result<Receipt>> future = promise->get_future();
    save_async(request, [promise](Result<Receipt> receipt) { promise->set_value(std::move(receipt)); });
    return future;
}

Result<LoadedState> OptimizedStatePersistence::load_agent_state(const LoadRequest& request) {
    return impl_->while_open([&]() -> Result<LoadedState> {
        const auto timer = impl_->stats.start();
        Result<LoadedState> loaded = impl_->load_state(request);
        if (loaded) impl_->stats.count_load(timer);
        return loaded;
    });
}

Result<RecoveryResult> OptimizedStatePersistence::recover_agent_state(const StateRecoveryRequest& request) {
    return impl_->while_open([&] { return impl_->recover(request); });
}

Result<ThreadContext> OptimizedStatePersistence::get_thread_context(std::string_view thread_id,
                                                                    std::optional<std::string_view> user_id,
                                                                    std::optional<std::chrono::milliseconds> timeout) {
    return impl_->while_open([&]() -> Result<ThreadContext> {
        const Deadline until = impl_->core.deadline(timeout);
        if (Status status = impl_->batcher.drain_thread(thread_id, until); !status) {
            return std::unexpected(std::move(status.error()));
        }
        return read_thread_context(*impl_->core.store, thread_id, user_id, until);
    });
}

Status OptimizedStatePersistence::flush(std::string_view run_id, std::optional<std::chrono::milliseconds> timeout) {
    return impl_->while_open([&] { return impl_->batcher.flush(std::string(run_id), impl_->core.deadline(timeout)); });
}

Status OptimizedStatePersistence::flush_all(std::optional<std::chrono::milliseconds> timeout) {
    return impl_->while_open([&] { return impl_->batcher.flush_all(impl_->core.deadline(timeout)); });
}

Status OptimizedStatePersistence::close() {
    if (impl_->gate.is_forked()) return impl_->closed_by_fork_error();
    async_calls().wait_until_begun();
    Status closed = guarded([&] { return impl_->close(); });
    async_calls().wait_until_ended();
    return closed;
}

Status OptimizedStatePersistence::configure(const OptimizationSettings& settings) {
    if (settings.cache_max_size && *settings.cache_max_size == 0) {
        return fail(ErrorCode::kInvalidArgument,
                    "cache_max_size is 0: give at least 1 (to stop skipping, set "
                    "enable_deduplication to false)");
    }
    const MutexLock lock(impl_->configuring);
    if (settings.enable_deduplication) impl_->preparer.deduplication = *settings.enable_deduplication;
    if (settings.ignore_key_order) impl_->preparer.ignores_key_order = *settings.ignore_key_order;
    if (settings.enable_compression) impl_->preparer.compression = *settings.enable_compression;
    const HeadCache::Figures figures = impl_->cache.figures();
    impl_->cache.resize(settings.cache_max_size.value_or(figures.size_max),
                        settings.cache_max_bytes.value_or(figures.bytes_max));
    return {};
}

CacheStats OptimizedStatePersistence::get_cache_stats() const {
    CacheStats stats = impl_->stats.report();
    HeadCache::Figures figures = impl_->cache.figures();
    stats.cache_size = figures.size;
    stats.cache_max_size = figures.size_max;
    stats.cache_bytes = figures.bytes;
    stats.cache_max_bytes = figures.bytes_max;
    stats.evictions = figures.evictions;
    stats.cache_entries = std::move(figures.run_ids);
    const Batcher::Figures queue = impl_->batcher.figures();
    stats.queue_size = queue.size;
    stats.queue_bytes = queue.bytes;
    stats.deduplication_enabled = impl_->preparer.deduplication;
    stats.compression_enabled = impl_->preparer.compression;
    return stats;
}

void OptimizedStatePersistence::clear_cache() {
    impl_->cache.clear();
}

StatePersistenceService& OptimizedStatePersistence::fallback_service() {
    return impl_->standard;
}

}  // namespace cairn
