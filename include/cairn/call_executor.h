#pragma once

#include <cairn/error.h>
#include <cairn/types.h>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace cairn {

/// Told once how a call ended (`Completion<void>`: a `Status`).
template <class T>
using Completion = std::function<void(Result<T>)>;

/// Tells it. What it throws is ignored.
template <class T>
void tell(const Completion<T>& done, Result<T> result) noexcept {
    try {
        done(std::move(result));
    } catch (...) {  // NOLINT(bugprone-empty-catch): what a completion throws concerns nobody here
    }
}

/// Makes blocking calls on its own threads, for callers that must not block: event loops, servers, bindings.
///
/// Order: calls with one key are made one after the other, in the order of submission. A blocked call delays only its
///   own key: while all threads are busy, a thread that is blocked for longer than 2 ms does not count, and another one
///   takes its place, up to `threads_max`.
/// Ends: every call is made or refused, once. One that was cancelled before it began is refused with kCancelled, one
///   whose deadline passes before it begins with kUnavailable, at that time. A call that has begun is not interrupted.
/// Threads: safe to use concurrently, also from a call. Calls are made and refused on the executor's threads, which
///   start when they are needed and end when there has been nothing to do for a while. For refusals there is one thread
///   more than `threads_max`. A machine that has no thread left makes the calls on the submitting one.
/// Lifetime: the destructor waits until all that was submitted has ended; a call may destroy its own executor. Not to
///   be used in a forked child: the threads are the parent's.
/// Errors: what a call throws is ignored. `submit` throws what the standard library does without memory (nothing was
///   submitted then); `call` tells it as kInternal.
class CallExecutor {
    struct Shared;
    struct Entry;

public:
    /// A call that was submitted. Copies are of the same call. Dropping it changes nothing.
    class Submitted {
    public:
        /// Of a call that has ended.
        Submitted() = default;
        /// Calls it off if it has not begun: true, and it is refused with kCancelled, on another thread. Otherwise
        /// nothing is changed.
        bool cancel() const noexcept;

    private:
        friend class CallExecutor;
        std::weak_ptr<Shared> executor_;
        std::weak_ptr<Entry> entry_;
    };

    explicit CallExecutor(std::size_t threads_max = 64);
    ~CallExecutor();
    CallExecutor(const CallExecutor&) = delete;
    CallExecutor& operator=(const CallExecutor&) = delete;

    /// Returns at once. An empty key: the call has no order with others. `call` gets an error if it is refused.
    Submitted submit(std::string key, Deadline deadline, std::function<void(Status)> call);
    /// A call without a deadline, which nobody cancels.
    void submit(std::string key, std::function<void()> call);

    /// Makes `call`, which returns a Result, and tells `done` what that was, or why it was refused.
    template <class Call, class Answer = std::invoke_result_t<Call&>>
    Submitted call(std::string key, Deadline deadline, Call call,
                   std::type_identity_t<std::function<void(Answer)>> done) {
        using Value = typename Answer::value_type;
        struct Both {
            Call call;
            Completion<Value> done;
        };
        std::shared_ptr<Both> both;
        try {
            both = std::make_shared<Both>(std::move(call), std::move(done));
            return submit(std::move(key), deadline, [both](Status admitted) {
                tell<Value>(both->done,
                            admitted ? answer<Answer>(both->call) : std::unexpected(std::move(admitted.error())));
            });
        } catch (const std::exception&) {
            tell<Value>(both ? both->done : done, std::unexpected(caught_error()));
            return {};
        }
    }

private:
    template <class Answer, class Call>
    static Answer answer(Call& call) {
        try {
            return call();
        } catch (const std::exception&) {
            return std::unexpected(caught_error());
        }
    }

    std::shared_ptr<Shared> shared_;
};

}  // namespace cairn
