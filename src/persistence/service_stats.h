#pragma once

#include "persistence/latency_histogram.h"

#include <cairn/persistence.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace cairn {

/// The optimised service's counters. Threads: safe to call concurrently, without locks.
class ServiceStats {
public:
    /// The time at which a call began; the epoch if latencies are not measured.
    using Timer = std::chrono::steady_clock::time_point;

    explicit ServiceStats(bool measures_latency) : measures_latency_(measures_latency) {}

    Timer start() const { return measures_latency_ ? std::chrono::steady_clock::now() : Timer{}; }

    void count_lookup(bool is_hit) { ++(is_hit ? hits_ : misses_); }
    void count_critical() { ++critical_; }
    void count_fallback(ErrorCode cause) { ++fallbacks_[static_cast<std::size_t>(cause)]; }
    void count_batch(std::size_t saves) {
        ++batches_;
        batched_ += saves;
    }
    void count_failed_batch() { ++failed_batches_; }
    void count_lost() { ++lost_; }
    void count_save(const Result<Receipt>& receipt, std::uint64_t state_bytes, Timer started);
    void count_load(Timer started) { record(loads_, started); }

    /// Returns all that is counted here. The figures of the cache and the queue are left at 0.
    CacheStats report() const;

private:
    using Counter = std::atomic<std::uint64_t>;
    static constexpr std::size_t kOutcomes = static_cast<std::size_t>(Outcome::kFailed) + 1;
    static constexpr std::size_t kErrorCodes = static_cast<std::size_t>(kLastErrorCode) + 1;

    void record(LatencyHistogram& histogram, Timer started) const {
        if (measures_latency_) histogram.record(std::chrono::steady_clock::now() - started);
    }

    const bool measures_latency_;
    Counter hits_ = 0;
    Counter misses_ = 0;
    Counter critical_ = 0;
    Counter bytes_saved_ = 0;
    Counter batches_ = 0;
    Counter batched_ = 0;
    Counter failed_batches_ = 0;
    Counter lost_ = 0;
    std::array<Counter, kOutcomes> outcomes_{};
    std::array<Counter, kErrorCodes> fallbacks_{};
    LatencyHistogram saves_;
    LatencyHistogram skips_;
    LatencyHistogram loads_;
};

}  // namespace cairn
