#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace cairn {

/// Calls back when a time has come. All timers of a process share one thread, which is started with the first of them
/// and sleeps while there is nothing to wait for.
///
/// Threads: safe to use concurrently. Calls are made one after the other, so each must be quick; it must not throw.
class Timer {
public:
    using Time = std::chrono::steady_clock::time_point;
    struct Entry;

    Timer() = default;
    /// Errors: std::system_error (there is no thread left).
    Timer(Time time, std::function<void()> call);
    /// Calls it off. If it is being made on another thread, waits until that has ended.
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
