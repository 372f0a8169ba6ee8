#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace cairn {

/// Calls back at a given time. All timers of a process share one thread, which is started with the first timer and
/// sleeps while there is nothing to wait for.
///
/// Threads: safe to use concurrently. Calls are made one after the other, so each must be quick; it must not throw.
class Timer {
public:
    using Time = std::chrono::steady_clock::time_point;
    struct Entry;

    Timer() = default;
    /// Errors: std::system_error (no thread is left).
    Timer(Time time, std::function<void()> call);
    /// Cancels the call. If it is running on another thread, waits until it has ended.
    ~Timer() { cancel(); }
    Timer(Timer&&) noexcept = default;
    Timer& operator=(Timer&& other) noexcept;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void cancel() noexcept;

private:
    std::shared_ptr<Entry> entry_;
};

}  // namespace cairn
