#pragma once

#include <algorithm>
#include <chrono>

namespace cairn {

/// Returns `timeout`, but no longer than a year, so that "for ever" (`milliseconds::max()`) can be added to a time.
inline std::chrono::milliseconds bounded(std::chrono::milliseconds timeout) {
    constexpr std::chrono::hours kLongest{24 * 365};
    return std::clamp<std::chrono::milliseconds>(timeout, std::chrono::milliseconds::zero(), kLongest);
}

}  // namespace cairn
