#pragma once

// Pauses between tries. Each has a random length, up to a bound that doubles, so that two writers in conflict do not
// retry at the same time again.

#include <cairn/runtime.h>
#include <cairn/types.h>

#include <chrono>

namespace cairn {

class Backoff {
public:
    /// `runtime` must have its defaults, and must outlive this object. `longest`: the bound stops growing there.
    Backoff(const Runtime& runtime, Deadline deadline,
            std::chrono::microseconds longest = std::chrono::milliseconds(128))
        : runtime_(runtime), deadline_(deadline), longest_ever_(longest) {}

    /// Waits before the next try. Returns false if the deadline has passed and there is no next try.
    [[nodiscard]] bool pause();

private:
    std::chrono::microseconds random_pause();

    const Runtime& runtime_;
    const Deadline deadline_;
    const std::chrono::microseconds longest_ever_;
    std::chrono::microseconds longest_{1000};
};

}  // namespace cairn
