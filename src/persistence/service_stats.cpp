#include "persistence/service_stats.h"

namespace cairn {

void ServiceStats::count_save(const Result<Receipt>& receipt, std::uint64_t state_bytes, Timer started) {
    const Outcome outcome = receipt ? receipt->outcome : Outcome::kFailed;
    ++outcomes_[static_cast<std::size_t>(outcome)];
    if (!receipt) return;
    if (state_bytes > receipt->frame_bytes) bytes_saved_ += state_bytes - receipt->frame_bytes;
    record(outcome == Outcome::kDeduplicated ? skips_ : saves_, started);
}

CacheStats ServiceStats::report() const {
    CacheStats stats;
    stats.hits = hits_;
    stats.misses = misses_;
    stats.critical = critical_;
    stats.bytes_saved = bytes_saved_;
    stats.batches = batches_;
    stats.batched = batched_;
    stats.failed_batches = failed_batches_;
    stats.lost = lost_;
    stats.skips = outcomes_[static_cast<std::size_t>(Outcome::kDeduplicated)];
    for (std::size_t i = 0; i < kOutcomes; ++i) {
        stats.saves_by_outcome[std::string(to_string(static_cast<Outcome>(i)))] = outcomes_[i];
    }
    for (const ErrorInfo& info : error_table()) {
        const std::uint64_t count = fallbacks_[static_cast<std::size_t>(info.code)];
        if (count > 0) stats.fallbacks_by_cause[std::string(info.name)] = count;
    }
    stats.save_latency = saves_.summary();
    stats.skip_latency = skips_.summary();
    stats.load_latency = loads_.summary();
    return stats;
}

}  // namespace cairn
