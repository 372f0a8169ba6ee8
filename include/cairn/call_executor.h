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

/// Called once with the result of a call (`Completion<void>`: with a `Status`).
template <class T>
using Completion = std::function<void(Result<T>)>;

/// Calls the completion. An exception that it throws is ignored.
template <class T>
void tell(const Completion<T>& done, Result<T> result) noexcept {
    try {
        done(std::move(result));
    } catch (...) {  // NOLINT(bugprone-empty-catch): nobody here can handle a completion's error
    }
}

/// Makes blocking calls on its own threads, for callers that must not block: event loops, servers, bindings.
///
/// Order: calls with one key are made one after the other, in the order of submission. A blocked call delays only its
///   own key: while all threads are busy, a thread that is blocked for longer than 2 ms does not count, and another one
///   takes its place, up to `threads_max`.
/// Ends: every call is made or refused, once. A call that is cancelled before it began is refused with kCancelled. A
///   call whose deadline passes before it begins is refused with kUnavailable at that time. A call that has begun is
///   not interrupted.
/// Threads: safe to use concurrently, also from a call. Calls are made and refused on the executor's threads, which
///   start when they are needed and end after a while without work. Refusals have one thread in addition to
///   `threads_max`. If the machine has no thread left, calls are made on the submitting one.
/// Lifetime: the destructor waits until all submitted calls have ended; a call may destroy its own executor. Do not use
///   it in a forked child: the threads are the parent's.
/// Errors: an exception that a call throws is ignored. If memory runs out, `submit` throws what the standard library
///   throws, and nothing was submitted; `call` passes it to the completion as kInternal.
class CallExecutor {
    struct Shared;
    struct Entry;

public:
    /// A handle of a submitted call. Copies belong to the same call. Dropping it changes nothing.
    class Submitted {
    public:
        /// A handle of a call that has ended.
        Submitted() = default;
        /// Cancels the call if it has not begun: returns true, and the call is refused with kCancelled on another
        /// thread. Otherwise nothing changes.
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

    /// Returns at once. With an empty key the call has no order with others. `call` gets an error if it is refused.
    Submitted submit(std::string key, Deadline deadline, std::function<void(Status)> call);
    /// Submits a call that has no deadline and cannot be cancelled.
    void submit(std::string key, std::function<void()> call);

    /// Makes `call`, which returns a Result, and gives `done` that result, or the error if the call was refused.
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
