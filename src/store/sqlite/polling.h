#pragma once

#include <cairn/types.h>

#include <chrono>
#include <thread>

namespace cairn::sqlite {

/// Calls `look`, with pauses, until it returns true. False: it did not by `deadline`, not even in a last call.
template <class Look>
bool comes_true(Deadline deadline, const Look& look) {
    constexpr std::chrono::milliseconds kPause(1);
    while (true) {
        const bool is_last = std::chrono::steady_clock::now() >= deadline;
        if (look()) return true;
        if (is_last) return false;
        std::this_thread::sleep_for(kPause);
    }
}

}  // namespace cairn::sqlite
