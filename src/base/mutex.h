#pragma once

// Mutexes that clang knows: the standard library's have no annotations.

#include "base/thread_annotations.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>
#include <stop_token>

namespace cairn {

/// A std::mutex. A function that needs it says so with CAIRN_REQUIRES, and may release and take it in between.
class CAIRN_CAPABILITY("mutex") Mutex {
public:
    void lock() CAIRN_ACQUIRE() { mutex_.lock(); }
    bool try_lock() CAIRN_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
    void unlock() CAIRN_RELEASE() { mutex_.unlock(); }

private:
    friend class ConditionVariable;
    std::mutex mutex_;
};

/// Holds a mutex as long as it lives.
class CAIRN_SCOPED_CAPABILITY MutexLock {
public:
    explicit MutexLock(Mutex& mutex) CAIRN_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
    /// Of a mutex that the thread has taken already.
    MutexLock(Mutex& mutex, std::adopt_lock_t /*its*/) CAIRN_REQUIRES(mutex) : mutex_(mutex) {}
    ~MutexLock() CAIRN_RELEASE() { mutex_.unlock(); }
    MutexLock(const MutexLock&) = delete;
    MutexLock& operator=(const MutexLock&) = delete;

private:
    Mutex& mutex_;
};

/// Leaves a mutex, which the thread holds, to others as long as it lives.
class CAIRN_SCOPED_CAPABILITY MutexUnlock {
public:
    explicit MutexUnlock(Mutex& mutex) CAIRN_RELEASE(mutex) : mutex_(mutex) { mutex_.unlock(); }
    ~MutexUnlock() CAIRN_RELEASE() { mutex_.lock(); }  // to clang: the end of what the constructor did
    MutexUnlock(const MutexUnlock&) = delete;
    MutexUnlock& operator=(const MutexUnlock&) = delete;

private:
    Mutex& mutex_;
};

/// A std::shared_mutex. Many readers hold it together, or one writer alone.
class CAIRN_CAPABILITY("mutex") SharedMutex {
public:
    void lock() CAIRN_ACQUIRE() { mutex_.lock(); }
    void unlock() CAIRN_RELEASE() { mutex_.unlock(); }
    void lock_shared() CAIRN_ACQUIRE_SHARED() { mutex_.lock_shared(); }
    void unlock_shared() CAIRN_RELEASE_SHARED() { mutex_.unlock_shared(); }

private:
    std::shared_mutex mutex_;
};

/// Holds a shared mutex as a writer as long as it lives.
class CAIRN_SCOPED_CAPABILITY WriterLock {
public:
    explicit WriterLock(SharedMutex& mutex) CAIRN_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
    ~WriterLock() CAIRN_RELEASE() { mutex_.unlock(); }
    WriterLock(const WriterLock&) = delete;
    WriterLock& operator=(const WriterLock&) = delete;

private:
    SharedMutex& mutex_;
};

/// Holds a shared mutex as one of its readers as long as it lives.
class CAIRN_SCOPED_CAPABILITY ReaderLock {
public:
    explicit ReaderLock(SharedMutex& mutex) CAIRN_ACQUIRE_SHARED(mutex) : mutex_(mutex) { mutex_.lock_shared(); }
    ~ReaderLock() CAIRN_RELEASE() { mutex_.unlock_shared(); }
    ReaderLock(const ReaderLock&) = delete;
    ReaderLock& operator=(const ReaderLock&) = delete;

private:
    SharedMutex& mutex_;
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

/// Waits until `time` or until a stop is requested. Returns true if it is requested.
inline bool wait_for_stop(Mutex& mutex, const std::stop_token& stop, std::chrono::steady_clock::time_point time)
    CAIRN_REQUIRES(mutex) {
    std::condition_variable_any requested;
    return requested.wait_until(mutex, stop, time, [&] { return stop.stop_requested(); });
}

}  // namespace cairn
