#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace cairn {

/// Makes calls that may wait on threads of its own, for whoever must not wait: event loops, servers, bindings.
///
/// Order: calls of one key are made one after the other, in the order in which they were submitted. A call that waits
///   holds up its own key only: while all threads are busy, one that is blocked for longer than 2 ms does not count,
///   and another one takes its place, up to `threads_max`.
/// Threads: safe to use concurrently, also from a call. Threads start with the first calls; most of them end when there
///   has been nothing to do for a while. A machine that has none left makes the calls on the submitting thread.
/// Lifetime: the destructor waits until all that was submitted has been made; a call may destroy its own executor. Not
///   to be used in a forked child: the threads are the parent's.
class CallExecutor {
public:
    explicit CallExecutor(std::size_t threads_max = 64);
    ~CallExecutor();
    CallExecutor(const CallExecutor&) = delete;
    CallExecutor& operator=(const CallExecutor&) = delete;

    /// Returns at once. An empty key: the call has no order with others. `call` must not throw.
    void submit(std::string key, std::function<void()> call);

private:
    struct Shared;
    std::shared_ptr<Shared> shared_;
};

}  // namespace cairn
