#pragma once

// Calls of the engine, made by a thread that waits or for an event loop that is told.

#include "ended.h"

#include <cairn/call_executor.h>

#include <pybind11/pybind11.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace cairn::python {

/// Calls that have ended, for one event loop. Its descriptor is readable as long as there are any.
/// Threads: `push` from any, without the GIL; the rest with it.
class CompletionQueue {
public:
    CompletionQueue();
    ~CompletionQueue();
    CompletionQueue(const CompletionQueue&) = delete;
    CompletionQueue& operator=(const CompletionQueue&) = delete;

    int descriptor() const { return descriptor_; }
    void push(std::uint64_t key, Ended ended);
    /// (key, value, exception) of each call that has ended, `count` of them at the most; after `seconds` the rest is
    /// left for the next time, so that the loop gets its turn.
    pybind11::list drain(std::size_t count, double seconds);

private:
    struct Completion {
        std::uint64_t key;
        Ended ended;
    };
    bool pop(Completion& into);

    int descriptor_;
    std::mutex mutex_;
    std::deque<Completion> completions_;  // guarded by mutex_
};

/// Calls under way of which nobody has been told yet how they end: begun for an event loop, or left to themselves by
/// Ctrl-C. With the GIL.
class UntoldCalls {
public:
    /// `call` lives as long as the call is under way.
    void add(std::weak_ptr<const void> call);
    std::size_t count();

private:
    std::vector<std::weak_ptr<const void>> calls_;
    std::size_t count_at_cleanup_ = 0;
};

/// One call of the engine, not made yet; to be made once.
class Call {
public:
    using Begin = std::function<CallExecutor::Submitted(const Tell&)>;
    using Make = std::function<Ended()>;

    /// `begin` returns at once, and tells from any thread how the call ended.
    Call(std::shared_ptr<CallExecutor> executor, Begin begin)
        : executor_(std::move(executor)), begin_(std::move(begin)) {}
    /// `make` is the same call for those who wait: it blocks, and is called without the GIL.
    Call(std::shared_ptr<CallExecutor> executor, Begin begin, Make make)
        : executor_(std::move(executor)), begin_(std::move(begin)), make_(std::move(make)) {}

    /// A save of a run: where it is noted. Later saves of the run that are waited for begin after one that was
    /// interrupted.
    Call noted_in(std::shared_ptr<UntoldCalls> saves, std::string run_id) && {
        saves_ = std::move(saves);
        run_id_ = std::move(run_id);
        return std::move(*this);
    }

    /// Makes it and waits for it. With the GIL, which is let go meanwhile. On Python's main thread a signal whose
    /// handler raises ends the wait; the call goes on.
    pybind11::object wait();
    /// Makes them elsewhere, one after the other; nobody is told. With the GIL.
    static void leave(const std::vector<Call*>& calls);
    /// Makes it elsewhere; `queue` is told. Returns at once.
    CallExecutor::Submitted start(const std::shared_ptr<CompletionQueue>& queue, std::uint64_t key) const;

private:
    std::shared_ptr<CallExecutor> executor_;
    Begin begin_;
    Make make_;  // none: who waits waits for what `begin_` tells
    std::string run_id_;
    std::shared_ptr<UntoldCalls> saves_;
};

void bind_calls(pybind11::module_& module);

}  // namespace cairn::python
