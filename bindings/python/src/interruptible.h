#pragma once

// Ctrl-C while a call waits. Python handles signals on its main thread only, and only while that thread runs Python. So
// a blocking call is made on another thread, and the main thread checks for signals while it waits.

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <pybind11/pybind11.h>

#include <chrono>
#include <optional>
#include <utility>

namespace cairn::python {

/// Returns true if signals reach this thread. The GIL must be held.
inline bool is_main_thread() {
    return _PyOS_IsMainThread() != 0;
}

/// A value that one thread waits for and another one brings.
template <class T>
class Awaited {
public:
    void bring(T value) {
        const MutexLock lock(mutex_);
        value_ = std::move(value);
        is_there_.notify_one();
    }

    /// The GIL must be held, and is released meanwhile. On the main thread, a signal whose handler raises ends the
    /// wait: it returns nothing, and Python's error is set. Call it once.
    std::optional<T> wait() {
        constexpr std::chrono::milliseconds kLookForSignals{20};
        while (true) {
            if (std::optional<T> value = wait_for(kLookForSignals)) return value;
            if (PyErr_CheckSignals() != 0) return std::nullopt;
        }
    }

private:
    std::optional<T> wait_for(std::chrono::milliseconds time) {
        const pybind11::gil_scoped_release unlocked;
        const auto until = std::chrono::steady_clock::now() + time;
        const MutexLock lock(mutex_);
        while (!value_ && is_there_.wait_until(mutex_, until)) {
        }
        return std::exchange(value_, std::nullopt);
    }

    Mutex mutex_;
    ConditionVariable is_there_;
    std::optional<T> value_ CAIRN_GUARDED_BY(mutex_);
};

}  // namespace cairn::python
