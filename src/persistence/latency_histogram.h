#pragma once

#include <cairn/persistence.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace cairn {

/// Counts durations in buckets that are 1/16 of a power of two wide, so that a quantile is within 4 % of the exact one.
/// Threads: safe to call concurrently; a summary taken meanwhile may miss the newest.
class LatencyHistogram {
public:
    void record(std::chrono::nanoseconds duration);
    LatencySummary summary() const;

private:
    static constexpr std::size_t kParts = 16;  // of each power of two
    static constexpr std::size_t kBuckets = 64 * kParts;

    static std::size_t bucket_of(std::uint64_t nanoseconds);
    static double middle_us(std::size_t bucket);

    std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
    std::atomic<std::uint64_t> max_{0};
};

}  // namespace cairn
