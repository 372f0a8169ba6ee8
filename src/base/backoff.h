#pragma once

// Pauses between tries. Each is of random length, up to a bound that doubles: writers who met do not meet again in
// step.

#include <cairn/runtime.h>
#include <cairn/types.h>

#include <chrono>

namespace cairn {

class Backoff {
public:
    /// `runtime` must have its defaults, and outlive this.
    Backoff(const Runtime& runtime, Deadline deadline) : runtime_(runtime), deadline_(deadline) {}

    /// Waits before the next try. False: the deadline has passed, and there is none.
    [[nodiscard]] bool pause();

private:
    std::chrono::microseconds random_pause();

    const Runtime& runtime_;
    const Deadline deadline_;
    std::chrono::microseconds longest_{1000};
};

}  // namespace cairn
