#pragma once

#include "support/make.h"

#include <chrono>
#include <thread>

namespace cairn::test {

/// Waits until the condition holds. Returns false if it does not within a minute.
template <class Condition>
bool eventually(Condition condition) {
    const Deadline give_up = soon();
    while (!condition()) {
        if (std::chrono::steady_clock::now() > give_up) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

}  // namespace cairn::test
