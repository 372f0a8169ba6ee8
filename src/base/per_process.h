#pragma once

#include <unistd.h>

#include <atomic>
#include <memory>

namespace cairn {

/// One `T` that a whole process shares, made at the first use. It is never destroyed, since static destructors may
/// still need it. A forked child gets its own: an inherited lock may be held for ever by a thread that does not exist
/// there. Errors: those of making a `T`, std::bad_alloc. Threads: safe to call concurrently.
template <class T>
T& of_this_process() {
    struct Owned {
        const pid_t process = ::getpid();
        T object;
    };
    static std::atomic<Owned*> current = nullptr;
    Owned* known = current;
    if (known != nullptr && known->process == ::getpid()) return known->object;
    auto fresh = std::make_unique<Owned>();
    if (current.compare_exchange_strong(known, fresh.get())) return fresh.release()->object;
    return known->object;
}

}  // namespace cairn
