#pragma once

#include <cairn/types.h>

#include <algorithm>
#include <chrono>

namespace cairn {

/// Until when a call of the store may wait that nobody has given a time: one reading of a command, of a check.
inline Deadline default_deadline() {
    constexpr std::chrono::seconds kPatience(30);
    return std::chrono::steady_clock::now() + kPatience;
}

/// For one reading of something that may take until `deadline` as a whole.
inline Deadline reading_deadline(Deadline deadline) {
    return std::min(deadline, default_deadline());
}

}  // namespace cairn
