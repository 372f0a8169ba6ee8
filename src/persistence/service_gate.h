#pragma once

#include "persistence/guarded.h"

#include <cairn/error.h>

#include <unistd.h>

#include <atomic>

namespace cairn {

/// Lets calls in as long as a service is open, and counts those under way.
/// Threads: safe to call concurrently.
class ServiceGate {
public:
    /// Calls `work`, which returns a Result, unless the service is closed.
    template <class Work>
    auto while_open(const Work& work) -> decltype(work()) {
        const Call call(calls_);
        if (is_closed_) return fail(ErrorCode::kClosed, "the service was closed");
        return guarded(work);
    }

    /// Refuses further calls.
    void close() { is_closed_ = true; }
    void wait_for_calls() const {
        for (int under_way = calls_; under_way != 0; under_way = calls_) calls_.wait(under_way);
    }
    /// Says whether the service was made by the process that this one was forked from.
    bool is_forked() const { return ::getpid() != process_; }

private:
    class Call {
    public:
        explicit Call(std::atomic<int>& calls) : calls_(calls) { ++calls_; }
        ~Call() {
            if (--calls_ == 0) calls_.notify_all();
        }
        Call(const Call&) = delete;
        Call& operator=(const Call&) = delete;

    private:
        std::atomic<int>& calls_;
    };

    const pid_t process_ = ::getpid();
    std::atomic<bool> is_closed_ = false;
    std::atomic<int> calls_ = 0;
};

}  // namespace cairn
