#pragma once

// A mutex that clang knows: the standard library's has no annotations.

#include "base/thread_annotations.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace cairn {

/// A std::mutex. A function that needs it says so with CAIRN_REQUIRES, and may release and take it in between.
class CAIRN_CAPABILITY("mutex") Mutex {
public:
    void lock() CAIRN_ACQUIRE() { mutex_.lock(); }
    void unlock() CAIRN_RELEASE() { mutex_.unlock(); }

private:
    friend class ConditionVariable;
    std::mutex mutex_;
};

/// Holds a mutex as long as it lives.
class CAIRN_SCOPED_CAPABILITY MutexLock {
public:
    explicit MutexLock(Mutex& mutex) CAIRN_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
    ~MutexLock() CAIRN_RELEASE() { mutex_.unlock(); }
    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;

private:
    Mutex& mutex_;
};

/// A std::condition_variable for a Mutex. A wait ends for no reason, too: wait in a loop that looks at the condition.
class ConditionVariable {
public:
    void wait(Mutex& mutex) CAIRN_REQUIRES(mutex) {
        Held held(mutex);
        condition_.wait(held.lock);
    }
    /// Returns false if the time has come.
    bool wait_until(Mutex& mutex, std::chrono::steady_clock::time_point time) CAIRN_REQUIRES(mutex) {
        Held held(mutex);
        return condition_.wait_until(held.lock, time) == std::cv_status::no_timeout;
    }
    void notify_one() noexcept { condition_.notify_one(); }
    void notify_all() noexcept { condition_.notify_all(); }

private:
    /// The caller's hold of the mutex, which it keeps.
    struct Held {
        explicit Held(Mutex& mutex) : lock(mutex.mutex_, std::adopt_lock) {}
        ~Held() { lock.release(); }
        Held(const Held&) = delete;
        Held& operator=(const Held&) = delete;

        std::unique_lock<std::mutex> lock;
    };

    std::condition_variable condition_;
};

}  // namespace cairn
