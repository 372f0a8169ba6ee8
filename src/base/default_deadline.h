#pragma once

#include <cairn/types.h>

#include <algorithm>
#include <chrono>

namespace cairn {

/// The deadline of one store call that nobody has given a time for, such as one reading of a command or of a check.
inline Deadline default_deadline() {
    constexpr std::chrono::seconds kPatience(30);
    return std::chrono::steady_clock::now() + kPatience;
}

/// The deadline of one reading within an operation that may take until `deadline` as a whole.
inline Deadline reading_deadline(Deadline deadline) {
    return std::min(deadline, default_deadline());
}

}  // namespace cairn
