#pragma once

// Ctrl-C while a call waits. Python handles signals on its main thread only, and only while that thread runs Python. So
// a blocking call is made on another thread, and the main thread checks for signals while it waits.

#include <pybind11/pybind11.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
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
        const std::lock_guard lock(mutex_);
        value_ = std::move(value);
        is_there_.notify_one();
    }

    /// The GIL must be held, and is released meanwhile. On the main thread, a signal whose handler raises ends the
    /// wait: it returns nothing, and Python's error is set. Call it once.
    std::optional<T> wait() {
        constexpr std::chrono::milliseconds kLookForSignals{20};
        while (!wait_for(kLookForSignals)) {
            if (PyErr_CheckSignals() != 0) return std::nullopt;
        }
        return std::move(value_);
    }

private:
    bool wait_for(std::chrono::milliseconds time) {
        const pybind11::gil_scoped_release unlocked;
        std::unique_lock lock(mutex_);
        return is_there_.wait_for(lock, time, [this] { return value_.has_value(); });
    }

    std::mutex mutex_;
    std::condition_variable is_there_;
    std::optional<T> value_;  // guarded by mutex_
};

}  // namespace cairn::python
