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
        case ErrorCode::kAlreadyExists:
        case ErrorCode::kClosed:
            return true;
        default:
            return false;
    }
}

// A skip must not shorten how long the state is kept.
bool outlives(const Head& head, const StatePersistenceRequest& request) {
    return !head.expires_at || (request.expires_at && *request.expires_at <= *head.expires_at);
}

}  // namespace

struct OptimizedStatePersistence::Impl : ServiceCore {
    Impl(std::shared_ptr<Store> its_store, OptimizedOptions its_options)
        : ServiceCore(its_store, its_options),
          standard(std::move(its_store), its_options),
          cache(its_options.cache_max_size, its_options.cache_max_bytes),
          stats(its_options.enable_monitoring),
          deduplication(its_options.enable_deduplication),
          compression(its_options.enable_compression) {}

    Result<Receipt> save(const StatePersistenceRequest& request, Deadline deadline);
    Result<Receipt> save_critical(const StatePersistenceRequest& request, Deadline deadline);
    Result<Receipt> save_optimised(const StatePersistenceRequest& request, Deadline deadline);
    Result<Receipt> skip_or_write(const StatePersistenceRequest& request, const std::string& snapshot_id,
                                  Deadline deadline);
    Result<bool> equals_head(const StatePersistenceRequest& request, const Head& head);
    Result<Receipt> fall_back(const StatePersistenceRequest& request, const std::string& snapshot_id, Deadline deadline,
                              Error cause);
    void remember(const StatePersistenceRequest& request, const Receipt& receipt);

    StatePersistenceService standard;
    HeadCache cache;
    ServiceStats stats;
    std::atomic<bool> deduplication;
    std::atomic<bool> compression;
    std::mutex configure_mutex;
};

Result<Receipt> OptimizedStatePersistence::Impl::save(const StatePersistenceRequest& request, Deadline deadline) {
    const bool is_critical = request.is_critical();
    std::optional<Cargo> cargo;
    if (!is_critical && deduplication && request.on_conflict == OnConflict::kRebase) {
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
        guarded([&] { return write(request, id, FrameOptions{.compression = compression}, deadline); });
    if (!receipt && !is_final(receipt.error().code)) return fall_back(request, id, deadline, receipt.error());
    if (receipt) remember(request, *receipt);
    return receipt;
}

Result<Receipt> OptimizedStatePersistence::Impl::save_optimised(const StatePersistenceRequest& request,
                                                                Deadline deadline) {
    const std::string id = snapshot_id(request);
    Result<Receipt> receipt = guarded([&] { return skip_or_write(request, id, deadline); });
    if (receipt || is_final(receipt.error().code)) return receipt;
    return fall_back(request, id, deadline, std::move(receipt.error()));
}

Result<Receipt> OptimizedStatePersistence::Impl::skip_or_write(const StatePersistenceRequest& request,
                                                               const std::string& snapshot_id, Deadline deadline) {
    Result<std::optional<Head>> head = store->head(request.run_id);
    if (!head) return std::unexpected(std::move(head.error()));
    if (deduplication && *head) {
        if (Status status = writer->check_head(request, *head); !status) {
            return std::unexpected(std::move(status.error()));
        }
        const Result<bool> is_equal = equals_head(request, **head);
        if (!is_equal) return std::unexpected(is_equal.error());
        if (*is_equal) {
            writer->saw(request.run_id, (*head)->version);
            return Receipt{.snapshot_id = std::move((*head)->snapshot_id),
                           .outcome = Outcome::kDeduplicated,
                           .version = (*head)->version};
        }
    }
    Result<Receipt> receipt = writer->write(request, snapshot_id, options.runtime.clock->now(),
                                            FrameOptions{.compression = compression}, std::move(*head), deadline);
    if (receipt) remember(request, *receipt);
    return receipt;
}

// Compares with the head that the store has now: from the cache if that is the same one, otherwise read back, which
// only a text of the same length is worth.
Result<bool> OptimizedStatePersistence::Impl::equals_head(const StatePersistenceRequest& request, const Head& head) {
    const auto cached = cache.find(request.run_id);
    const bool is_current = cached && cached->version == head.version && cached->snapshot_id == head.snapshot_id;
    stats.count_lookup(is_current);
    if (!outlives(head, request) || head.state_bytes != request.state_data.size_bytes()) return false;
    if (is_current) return cached->state == request.state_data;
    Result<LoadedState> loaded =
        load_snapshot(*store, {.run_id = request.run_id, .snapshot_id = head.snapshot_id}, options.state_limits);
    if (!loaded) return std::unexpected(std::move(loaded.error()));
    const bool is_equal = loaded->state == request.state_data;
    cache.put(request.run_id,
              {.snapshot_id = head.snapshot_id, .version = head.version, .state = std::move(loaded->state)});
    return is_equal;
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
    remember(request, *receipt);
    return receipt;
}

void OptimizedStatePersistence::Impl::remember(const StatePersistenceRequest& request, const Receipt& receipt) {
    if (!deduplication) return;
    cache.put(request.run_id,
              {.snapshot_id = receipt.snapshot_id, .version = receipt.version, .state = request.state_data});
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
        Result<LoadedState> loaded = impl_->load(request);
        if (!loaded) return loaded;
        impl_->stats.count_load(timer);
        if (!request.snapshot_id && impl_->deduplication) {
            impl_->cache.put(
                request.run_id,
                {.snapshot_id = loaded->info.snapshot_id, .version = loaded->info.version, .state = loaded->state});
        }
        return loaded;
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
