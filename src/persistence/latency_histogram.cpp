#include "persistence/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cairn {

void LatencyHistogram::record(std::chrono::nanoseconds duration) {
    const auto nanoseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0));
    counts_[bucket_of(nanoseconds)].fetch_add(1, std::memory_order_relaxed);
    std::uint64_t max = max_.load(std::memory_order_relaxed);
    while (nanoseconds > max && !max_.compare_exchange_weak(max, nanoseconds, std::memory_order_relaxed)) {
    }
}

// Values below kParts have a bucket each; above, the four bits behind the leading one choose the part.
std::size_t LatencyHistogram::bucket_of(std::uint64_t nanoseconds) {
    if (nanoseconds < kParts) return nanoseconds;
    const auto octave = static_cast<std::size_t>(std::bit_width(nanoseconds)) - 5;
    return (octave + 1) * kParts + ((nanoseconds >> octave) - kParts);
}

double LatencyHistogram::middle_us(std::size_t bucket) {
    if (bucket < kParts) return static_cast<double>(bucket) / 1000.0;
    const auto octave = static_cast<int>(bucket / kParts) - 1;
    const double low = static_cast<double>(kParts + bucket % kParts);
    return std::ldexp(low + 0.5, octave) / 1000.0;
}

LatencySummary LatencyHistogram::summary() const {
    std::array<std::uint64_t, kBuckets> counts{};
    LatencySummary summary;
    for (std::size_t i = 0; i < kBuckets; ++i) {
        counts[i] = counts_[i].load(std::memory_order_relaxed);
        summary.count += counts[i];
    }
    const auto quantile = [&](double part) {
        const auto rank = static_cast<std::uint64_t>(std::ceil(part * static_cast<double>(summary.count)));
        std::uint64_t below = 0;
        for (std::size_t i = 0; i < kBuckets; ++i) {
            below += counts[i];
            if (below >= rank && counts[i] > 0) return middle_us(i);
        }
        return 0.0;
    };
    summary.p50_us = quantile(0.5);
    summary.p90_us = quantile(0.9);
    summary.p99_us = quantile(0.99);
    summary.max_us = static_cast<double>(max_.load(std::memory_order_relaxed)) / 1000.0;
    return summary;
}

}  // namespace cairn
