#pragma once

// Calls of the engine, made by a thread that waits or for an event loop that is told.

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

/// What a call came to: returns the value as a Python object, or raises. Holds no Python object itself, so that it may
/// be made and dropped without the GIL; to be called once, with it.
using Answer = std::function<pybind11::object()>;
using Done = std::function<void(Answer)>;

/// Calls that have ended, for one event loop. Its descriptor is readable as long as there are any.
/// Threads: `push` from any, without the GIL; the rest with it.
class CompletionQueue {
public:
    CompletionQueue();
    ~CompletionQueue();
    CompletionQueue(const CompletionQueue&) = delete;
    CompletionQueue& operator=(const CompletionQueue&) = delete;

    int descriptor() const { return descriptor_; }
    void push(std::uint64_t key, Answer answer);
    /// (key, value, exception) of each call that has ended, `count` of them at the most; after `seconds` the rest is
    /// left for the next time, so that the loop gets its turn.
    pybind11::list drain(std::size_t count, double seconds);

private:
    struct Completion {
        std::uint64_t key;
        Answer answer;
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

/// One call, not made yet; to be made once.
class Call {
public:
    /// `run` blocks and is called without the GIL. For an event loop calls of one key are begun in order; an empty key
    /// has none.
    Call(std::shared_ptr<CallExecutor> executor, std::string key, std::function<Answer()> run)
        : executor_(std::move(executor)), key_(std::move(key)), run_(std::move(run)) {}
    /// `begin` is for calls that need no thread of their own while they wait.
    Call(std::shared_ptr<CallExecutor> executor, std::string key, std::function<Answer()> run,
         std::function<void(Done)> begin)
        : executor_(std::move(executor)), key_(std::move(key)), run_(std::move(run)), begin_(std::move(begin)) {}

    /// A save: where it is noted. Later saves of its key that are waited for begin after one that was interrupted.
    Call noted_in(std::shared_ptr<UntoldCalls> saves) && {
        saves_ = std::move(saves);
        return std::move(*this);
    }

    /// Makes it and waits for it. With the GIL, which is let go meanwhile. On Python's main thread a signal whose
    /// handler raises ends the wait; the call goes on.
    pybind11::object wait();
    /// Makes them elsewhere, one after the other; nobody is told. With the GIL.
    static void leave(const std::vector<Call*>& calls);
    /// Makes it elsewhere; `queue` is told. Returns at once.
    void start(const std::shared_ptr<CompletionQueue>& queue, std::uint64_t key) const;

private:
    std::shared_ptr<CallExecutor> executor_;
    std::string key_;
    std::function<Answer()> run_;
    std::function<void(Done)> begin_;
    std::shared_ptr<UntoldCalls> saves_;
};

void bind_calls(pybind11::module_& module);

}  // namespace cairn::python
