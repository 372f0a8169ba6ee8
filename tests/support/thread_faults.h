#pragma once

// Simulates a machine that has no thread left. Only one file of a program may include this.

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <limits>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define CAIRN_TEST_HAS_OWN_THREADS 0  // the sanitizers need a pthread_create of their own
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CAIRN_TEST_HAS_OWN_THREADS 0
#endif
#endif
#ifndef CAIRN_TEST_HAS_OWN_THREADS
#define CAIRN_TEST_HAS_OWN_THREADS 1
#endif

namespace cairn::test {

/// The number of thread creations until one fails, once.
inline std::atomic<int> threads_until_failure = std::numeric_limits<int>::max();
/// If false, no thread can be created.
inline std::atomic<bool> machine_has_threads = true;

}  // namespace cairn::test

#if CAIRN_TEST_HAS_OWN_THREADS
// Replaces the system's function.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                              void* argument) {
    if (!cairn::test::machine_has_threads || --cairn::test::threads_until_failure == 0) return EAGAIN;
    static const auto next = reinterpret_cast<decltype(&pthread_create)>(::dlsym(RTLD_NEXT, "pthread_create"));
    return next(thread, attributes, start, argument);
}
#endif
