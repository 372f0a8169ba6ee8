#include "base/backoff.h"

#include <algorithm>
#include <cstdint>
#include <span>

namespace cairn {
bool Backoff::pause() {
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline_) return false;
    const auto left = std::chrono::ceil<std::chrono::microseconds>(deadline_ - now);
    runtime_.clock->pause(std::min(random_pause(), left));
    return std::chrono::steady_clock::now() < deadline_;
}

// A random time between zero and the bound.
std::chrono::microseconds Backoff::random_pause() {
    std::uint32_t random = 0;
    runtime_.random->fill(std::as_writable_bytes(std::span(&random, 1)));
    const std::chrono::microseconds pause(random % (longest_.count() + 1));
    longest_ = std::min(longest_ * 2, longest_ever_);
    return pause;
}

}  // namespace cairn
