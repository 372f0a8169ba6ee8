#pragma once

// Pauses between tries. Each is of random length, up to a bound that doubles: writers who met do not meet again in
// step.

#include <cairn/runtime.h>
#include <cairn/types.h>

#include <chrono>

namespace cairn {

class Backoff {
public:
    /// `runtime` must have its defaults, and outlive this. `longest`: the bound that none goes beyond.
    Backoff(const Runtime& runtime, Deadline deadline,
            std::chrono::microseconds longest = std::chrono::milliseconds(128))
        : runtime_(runtime), deadline_(deadline), longest_ever_(longest) {}

    /// Waits before the next try. False: the deadline has passed, and there is none.
    [[nodiscard]] bool pause();

private:
    std::chrono::microseconds random_pause();

    const Runtime& runtime_;
    const Deadline deadline_;
    const std::chrono::microseconds longest_ever_;
    std::chrono::microseconds longest_{1000};
};

}  // namespace cairn
