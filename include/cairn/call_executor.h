#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace cairn {

/// Makes blocking calls on its own threads, for callers that must not block: event loops, servers, bindings.
///
/// Order: calls with one key are made one after the other, in the order of submission. A blocked call delays only its
///   own key: while all threads are busy, a thread that is blocked for longer than 2 ms does not count, and another one
///   takes its place, up to `threads_max`.
/// Threads: safe to use concurrently, also from a call. Threads start with the first calls; most of them end when there
///   has been nothing to do for a while. If the machine has no threads left, the submitting thread makes the calls.
/// Lifetime: the destructor waits until all submitted calls have been made; a call may destroy its own executor. Do not
///   use it in a forked child: the threads belong to the parent.
class CallExecutor {
public:
    explicit CallExecutor(std::size_t threads_max = 64);
    ~CallExecutor();
    CallExecutor(const CallExecutor&) = delete;
    CallExecutor& operator=(const CallExecutor&) = delete;

    /// Returns at once. A call with an empty key has no order with others. `call` must not throw.
    void submit(std::string key, std::function<void()> call);

private:
    struct Shared;
    std::shared_ptr<Shared> shared_;
};

}  // namespace cairn
