#pragma once

// Calls of the engine, made by a thread that waits, or for an event loop that receives the result.

#include "ended.h"

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <cairn/call_executor.h>

#include <pybind11/pybind11.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace cairn::python {

/// Calls that have ended, for one event loop. The descriptor is readable as long as there are any.
/// Threads: `push` is called from any thread, without the GIL; the other members with it.
class CompletionQueue {
public:
    CompletionQueue();
    ~CompletionQueue();
    CompletionQueue(const CompletionQueue&) = delete;
    CompletionQueue& operator=(const CompletionQueue&) = delete;

    int descriptor() const { return descriptor_; }
    void push(std::uint64_t key, Ended ended);
    /// Returns (key, value, exception) of each call that has ended, at most `count` of them. After `seconds` the rest
    /// is left for the next time, so that the loop gets its turn.
    pybind11::list drain(std::size_t count, double seconds);

private:
    struct Completion {
        std::uint64_t key;
        Ended ended;
    };
    bool pop(Completion& into);

    int descriptor_;
    Mutex mutex_;
    std::deque<Completion> completions_ CAIRN_GUARDED_BY(mutex_);
};

/// Calls under way whose result nobody has received yet: begun for an event loop, or left to themselves by Ctrl-C. The
/// GIL must be held.
class UntoldCalls {
public:
    /// `call` must live as long as the call is under way.
    void add(std::weak_ptr<const void> call);
    std::size_t count();

private:
    std::vector<std::weak_ptr<const void>> calls_;
    std::size_t count_at_cleanup_ = 0;
};

/// One call of the engine that is not made yet. It can be made once.
class Call {
public:
    using Begin = std::function<CallExecutor::Submitted(const Tell&)>;
    using Make = std::function<Ended()>;

    /// `begin` returns at once, and passes on the result from any thread.
    Call(std::shared_ptr<CallExecutor> executor, Begin begin)
        : executor_(std::move(executor)), begin_(std::move(begin)) {}
    /// `make` is the same call for a thread that waits: it blocks, and is called without the GIL.
    Call(std::shared_ptr<CallExecutor> executor, Begin begin, Make make)
        : executor_(std::move(executor)), begin_(std::move(begin)), make_(std::move(make)) {}

    /// For a save of a run: notes it in `saves` while it is under way. After an interrupted save, later saves of the
    /// run that are waited for begin after it.
    Call noted_in(std::shared_ptr<UntoldCalls> saves, std::string run_id) && {
        saves_ = std::move(saves);
        run_id_ = std::move(run_id);
        return std::move(*this);
    }

    /// Makes the call and waits for it. The GIL must be held, and is released meanwhile. On Python's main thread, a
    /// signal whose handler raises ends the wait; the call goes on.
    pybind11::object wait();
    /// Makes the calls on other threads, one after the other, and drops their results. The GIL must be held.
    static void leave(const std::vector<Call*>& calls);
    /// Makes the call on another thread and returns at once. `queue` receives the result.
    CallExecutor::Submitted start(const std::shared_ptr<CompletionQueue>& queue, std::uint64_t key) const;

private:
    std::shared_ptr<CallExecutor> executor_;
    Begin begin_;
    Make make_;  // none: a waiting thread waits for the result of `begin_`
    std::string run_id_;
    std::shared_ptr<UntoldCalls> saves_;
};

void bind_calls(pybind11::module_& module);

}  // namespace cairn::python
