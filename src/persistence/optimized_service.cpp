#include "persistence/guarded.h"
#include "persistence/head_cache.h"
#include "persistence/service_core.h"
#include "persistence/service_stats.h"
#include "persistence/snapshot_reader.h"

#include <cairn/persistence.h>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <utility>

namespace cairn {
namespace {

// The caller's mistake, or the answer it asked for: the standard path would say the same.
bool is_final(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalidArgument:
        case ErrorCode::kConflict:
        case ErrorCode::kNotFound:
        case ErrorCode::kAlreadyExists:
        case ErrorCode::kClosed:
            return true;
        default:
            return false;
    }
}

// What a skip would lose: labels, a fork, or how long the state is kept.
bool may_be_skipped(const StatePersistenceRequest& request, const Head& head) {
    const bool outlives = !head.expires_at || (request.expires_at && *request.expires_at <= *head.expires_at);
    const bool is_fork = request.parent_snapshot_id && *request.parent_snapshot_id != head.snapshot_id;
    return outlives && !is_fork && !request.metadata;
}

}  // namespace

struct OptimizedStatePersistence::Impl : ServiceCore {
    Impl(std::shared_ptr<Store> its_store, OptimizedOptions its_options)
        : ServiceCore(its_store, its_options),
          standard(std::move(its_store), its_options),
          cache(its_options.cache_max_size, its_options.cache_max_bytes),
          stats(its_options.enable_monitoring),
          chain_limits(its_options.chain_limits),
          deduplication(its_options.enable_deduplication),
          compression(its_options.enable_compression) {}

    Result<Receipt> save(const StatePersistenceRequest& request, Deadline deadline);
    Result<Receipt> save_critical(const StatePersistenceRequest& request, Deadline deadline);
    Result<Receipt> save_optimised(const StatePersistenceRequest& request, Deadline deadline);
    Result<Receipt> skip_or_write(const StatePersistenceRequest& request, std::string& new_id, Deadline deadline);
    using KnownHead = std::shared_ptr<const CachedHead>;
    Result<KnownHead> read_head(const StatePersistenceRequest& request, const Head& head);
    Result<Receipt> write(const StatePersistenceRequest& request, const std::string& snapshot_id,
                          std::optional<Head> head, const KnownHead& known_head, Deadline deadline);
    Result<std::optional<DeltaBase>> fork_base(const StatePersistenceRequest& request,
                                               const std::optional<Head>& head) const;
    Result<Receipt> fall_back(const StatePersistenceRequest& request, const std::string& snapshot_id, Deadline deadline,
                              Error cause);
    void remember(const StatePersistenceRequest& request, const Receipt& receipt, const ChainCost& chain);
    void remember_full(const StatePersistenceRequest& request, const Receipt& receipt);

    StatePersistenceService standard;
    HeadCache cache;
    ServiceStats stats;
    const ChainLimits chain_limits;
    std::atomic<bool> deduplication;
    std::atomic<bool> compression;
    std::mutex configure_mutex;
};

Result<Receipt> OptimizedStatePersistence::Impl::save(const StatePersistenceRequest& request, Deadline deadline) {
    const bool is_critical = request.is_critical();
    std::optional<Cargo> cargo;
    const bool is_plain =
        request.on_conflict == OnConflict::kRebase && !request.parent_snapshot_id && !request.metadata;
    if (!is_critical && deduplication && is_plain) {
        cargo = Cargo{.state = request.state_data, .thread_id = request.thread_id, .user_id = request.user_id};
    }
    return lanes.run(request.run_id, cargo, deadline, [&] {
        return is_critical ? save_critical(request, deadline) : save_optimised(request, deadline);
    });
}

// The standard path in all but that the self-contained frame may be compressed.
Result<Receipt> OptimizedStatePersistence::Impl::save_critical(const StatePersistenceRequest& request,
                                                               Deadline deadline) {
    stats.count_critical();
    const std::string id = snapshot_id(request);
    Result<Receipt> receipt =
        guarded([&] { return write_full(request, id, FrameOptions{.compression = compression}, deadline); });
    if (!receipt && !is_final(receipt.error().code)) return fall_back(request, id, deadline, receipt.error());
    if (receipt) remember_full(request, *receipt);
    return receipt;
}

Result<Receipt> OptimizedStatePersistence::Impl::save_optimised(const StatePersistenceRequest& request,
                                                                Deadline deadline) {
    std::string id;  // made when something is written: a skip has no use for it
    Result<Receipt> receipt = guarded([&] { return skip_or_write(request, id, deadline); });
    if (receipt || is_final(receipt.error().code)) return receipt;
    if (id.empty()) id = snapshot_id(request);
    return fall_back(request, id, deadline, std::move(receipt.error()));
}

Result<Receipt> OptimizedStatePersistence::Impl::skip_or_write(const StatePersistenceRequest& request,
                                                               std::string& new_id, Deadline deadline) {
    Result<std::optional<Head>> head = store->head(request.run_id);
    if (!head) return std::unexpected(std::move(head.error()));
    if (Status status = writer->check_head(request, *head); !status) {
        return std::unexpected(std::move(status.error()));
    }
    if (!*head) {
        new_id = snapshot_id(request);
        return write(request, new_id, std::nullopt, nullptr, deadline);
    }

    const Result<KnownHead> known = read_head(request, **head);
    if (!known) return std::unexpected(known.error());
    if (deduplication && *known && may_be_skipped(request, **head) && (*known)->state == request.state_data) {
        writer->saw(request.run_id, (*head)->version);
        return Receipt{.snapshot_id = std::move((*head)->snapshot_id),
                       .outcome = Outcome::kDeduplicated,
                       .version = (*head)->version};
    }
    new_id = snapshot_id(request);
    return write(request, new_id, std::move(*head), *known, deadline);
}

// The state of the head that the store has now: from the cache if that is the same one, otherwise read back. Null if
// nobody needs it: without deltas only a state of the same length is worth a comparison.
Result<OptimizedStatePersistence::Impl::KnownHead> OptimizedStatePersistence::Impl::read_head(
    const StatePersistenceRequest& request, const Head& head) {
    KnownHead cached = cache.find(request.run_id);
    const bool is_current = cached && cached->version == head.version && cached->snapshot_id == head.snapshot_id;
    stats.count_lookup(is_current);
    if (is_current) return cached;
    if (!compression && head.state_bytes != request.state_data.size_bytes()) return nullptr;
    Result<ChainedState> loaded =
        load_snapshot(*store, {.run_id = request.run_id, .snapshot_id = head.snapshot_id}, options.state_limits);
    if (!loaded) return std::unexpected(std::move(loaded.error()));
    return cache.put(request.run_id, {.snapshot_id = head.snapshot_id,
                                      .version = head.version,
                                      .state = std::move(loaded->state),
                                      .chain = loaded->chain});
}

Result<Receipt> OptimizedStatePersistence::Impl::write(const StatePersistenceRequest& request,
                                                       const std::string& snapshot_id, std::optional<Head> head,
                                                       const KnownHead& known_head, Deadline deadline) {
    Result<std::optional<DeltaBase>> base = fork_base(request, head);
    if (!base) return std::unexpected(std::move(base.error()));
    std::optional<std::int64_t> parent_version;
    if (*base) parent_version = (*base)->version;
    if (!*base && known_head) {
        *base = DeltaBase{.state = known_head->state,
                          .version = known_head->version,
                          .snapshot_id = known_head->snapshot_id,
                          .chain = known_head->chain};
    }
    const FrameOptions frame_options{.compression = compression};
    Result<EncodedState> encoded = *base && compression
                                       ? encode_against(**base, request.state_data, frame_options, chain_limits)
                                       : encode_full(request.state_data, frame_options);
    if (!encoded) return std::unexpected(std::move(encoded.error()));
    const ChainCost chain = encoded->chain;
    Result<Receipt> receipt = writer->write(request, snapshot_id, options.runtime.clock->now(), std::move(*encoded),
                                            std::move(head), parent_version, deadline);
    if (receipt) remember(request, *receipt, chain);
    return receipt;
}

// The older snapshot that the request asks to grow from; nothing if it grows from the head.
Result<std::optional<DeltaBase>> OptimizedStatePersistence::Impl::fork_base(const StatePersistenceRequest& request,
                                                                            const std::optional<Head>& head) const {
    const Result<std::optional<Snapshot>> snapshot = parent(request, head);
    if (!snapshot) return std::unexpected(snapshot.error());
    if (!*snapshot) return std::nullopt;
    Result<State> state = decode_snapshot(**snapshot, options.state_limits);
    if (!state) return std::unexpected(std::move(state.error()));
    const Result<ChainCost> chain = chain_cost(**snapshot);
    if (!chain) return std::unexpected(chain.error());
    return DeltaBase{.state = std::move(*state),
                     .version = (*snapshot)->info.version,
                     .snapshot_id = (*snapshot)->info.snapshot_id,
                     .chain = *chain};
}

Result<Receipt> OptimizedStatePersistence::Impl::fall_back(const StatePersistenceRequest& request,
                                                           const std::string& snapshot_id, Deadline deadline,
                                                           Error cause) {
    stats.count_fallback(cause.code);
    options.runtime.log({.level = LogLevel::kWarning,
                         .event = "save_fallback",
                         .message = cause.to_string(),
                         .fields = {{"run_id", request.run_id},
                                    {"snapshot_id", snapshot_id},
                                    {"cause", std::string(error_info(cause.code).name)}}});
    StatePersistenceRequest retry = request;
    retry.snapshot_id = snapshot_id;  // whatever the first attempt left behind, it is not saved twice
    retry.expected_version = writer->expected_version(request);
    retry.timeout = std::max(std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()),
                             std::chrono::milliseconds(1));
    Result<Receipt> receipt = standard.save_agent_state(retry);
    if (!receipt) {
        if (!receipt.error().cause) receipt.error().cause = std::make_shared<const Error>(std::move(cause));
        return receipt;
    }
    receipt->outcome = Outcome::kFallback;
    writer->saw(request.run_id, receipt->version);
    remember_full(request, *receipt);
    return receipt;
}

void OptimizedStatePersistence::Impl::remember(const StatePersistenceRequest& request, const Receipt& receipt,
                                               const ChainCost& chain) {
    cache.put(
        request.run_id,
        {.snapshot_id = receipt.snapshot_id, .version = receipt.version, .state = request.state_data, .chain = chain});
}

void OptimizedStatePersistence::Impl::remember_full(const StatePersistenceRequest& request, const Receipt& receipt) {
    remember(request, receipt,
             {.frames = 1,
              .bytes = receipt.frame_bytes,
              .full_frame_bytes = receipt.frame_bytes,
              .full_text_bytes = request.state_data.size_bytes()});
}

OptimizedStatePersistence::OptimizedStatePersistence(std::shared_ptr<Store> store, OptimizedOptions options)
    : impl_(std::make_unique<Impl>(std::move(store), std::move(options))) {}

OptimizedStatePersistence::~OptimizedStatePersistence() = default;

Result<Receipt> OptimizedStatePersistence::save_agent_state(const StatePersistenceRequest& request) {
    const auto timer = impl_->stats.start();
    Result<Receipt> receipt = guarded([&]() -> Result<Receipt> {
        if (Status status = impl_->check(request); !status) return std::unexpected(std::move(status.error()));
        return impl_->save(request, impl_->deadline(request));
    });
    impl_->stats.count_save(receipt, request.state_data.size_bytes(), timer);
    return receipt;
}

Result<LoadedState> OptimizedStatePersistence::load_agent_state(const LoadRequest& request) {
    return guarded([&]() -> Result<LoadedState> {
        const auto timer = impl_->stats.start();
        Result<ChainedState> loaded = impl_->load(request);
        if (!loaded) return std::unexpected(std::move(loaded.error()));
        impl_->stats.count_load(timer);
        if (!request.snapshot_id) {
            impl_->cache.put(request.run_id, {.snapshot_id = loaded->info.snapshot_id,
                                              .version = loaded->info.version,
                                              .state = loaded->state,
                                              .chain = loaded->chain});
        }
        return std::move(*loaded);
    });
}

Result<RecoveryResult> OptimizedStatePersistence::recover_agent_state(const StateRecoveryRequest& request) {
    return guarded([&] { return impl_->recover(request); });
}

Result<ThreadContext> OptimizedStatePersistence::get_thread_context(std::string_view thread_id,
                                                                    std::optional<std::string_view> user_id) {
    return guarded([&] { return read_thread_context(*impl_->store, thread_id, user_id); });
}

Status OptimizedStatePersistence::configure(const OptimizationSettings& settings) {
    if (settings.cache_max_size && *settings.cache_max_size == 0) {
        return fail(ErrorCode::kInvalidArgument,
                    "cache_max_size is 0: give at least 1 (to stop skipping, set "
                    "enable_deduplication to false)");
    }
    const std::lock_guard lock(impl_->configure_mutex);
    if (settings.enable_deduplication) impl_->deduplication = *settings.enable_deduplication;
    if (settings.enable_compression) impl_->compression = *settings.enable_compression;
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
    stats.deduplication_enabled = impl_->deduplication;
    stats.compression_enabled = impl_->compression;
    return stats;
}

void OptimizedStatePersistence::clear_cache() {
    impl_->cache.clear();
}

StatePersistenceService& OptimizedStatePersistence::fallback_service() {
    return impl_->standard;
}

}  // namespace cairn
