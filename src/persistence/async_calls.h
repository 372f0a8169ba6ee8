#pragma once

// The calls of a service that a completion is told of: which are under way, and what they are made of.

#include "base/mutex.h"
#include "base/thread_annotations.h"
#include "persistence/timeouts.h"

#include <cairn/persistence.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

/// Threads: safe to use concurrently.
struct StatePersistence::AsyncCalls {
    using Milliseconds = std::chrono::milliseconds;

    AsyncCalls(std::shared_ptr<CallExecutor> its_executor, Milliseconds its_timeout);

    /// A call that was admitted. It counts as under way until this is destroyed.
    class Ticket {
    public:
        explicit Ticket(AsyncCalls& calls) : calls_(&calls) {}
        ~Ticket();
        Ticket(Ticket&& other) noexcept : calls_(std::exchange(other.calls_, nullptr)), is_begun_(other.is_begun_) {}
        Ticket& operator=(Ticket&&) = delete;
        Ticket(const Ticket&) = delete;
        Ticket& operator=(const Ticket&) = delete;

        /// The service is not needed any more to begin it.
        void has_begun();

    private:
        AsyncCalls* calls_;  // null once moved from
        bool is_begun_ = false;
    };

    /// Begins a call that must end within `left`. When it has ended, calls the completion, once.
    template <class Request, class T>
    using Begin = void (*)(StatePersistence& service, Request& request, Milliseconds left, const Completion<T>& done);

    /// `given`: what a Request is made of. `its_timeout`: instead of the service's.
    template <class Request, class T, class Given>
    Submitted make(StatePersistence& service, std::string_view key, std::optional<Milliseconds> its_timeout,
                   const Given& given, Begin<Request, T> begin,
                   Completion<T> done);  // NOLINT(performance-unnecessary-value-param)
    /// `make` for a request that has its run and its timeout. `Call` is a member of the service, or a function that
    /// takes the service and the request; it returns the result.
    template <auto Call, class T, class Request>
    Submitted make_timed(StatePersistence& service, const Request& request, Completion<T> done);

    /// Errors: kClosed.
    Result<Ticket> admit();
    /// Closes the service when what was admitted has begun.
    void close(StatePersistence& service, const Completion<void>& done);
    /// Admits no further calls, and waits until the service need not begin any.
    void wait_until_begun();
    /// Does the same, and waits until all calls have ended.
    void wait_until_ended();
    /// Does the same, and waits until all calls that close the service have ended.
    void wait_until_closed();
    /// Returns true if calls are under way. The last of them to end then destroys the service.
    bool leave_to_the_last(StatePersistence& service);
    bool is_forked() const { return ::getpid() != process; }

    const std::shared_ptr<CallExecutor> executor;
    const Milliseconds timeout;
    const pid_t process = ::getpid();

private:
    struct Closing;

    void begin_closing(const std::shared_ptr<Closing>& closing) noexcept;
    void count_down(std::size_t AsyncCalls::* calls) noexcept;

    Mutex mutex_;
    ConditionVariable changed_;
    std::size_t to_begin_ CAIRN_GUARDED_BY(mutex_) = 0;
    std::size_t under_way_ CAIRN_GUARDED_BY(mutex_) = 0;  // those to begin too
    std::size_t closing_ CAIRN_GUARDED_BY(mutex_) = 0;
    bool is_refusing_ CAIRN_GUARDED_BY(mutex_) = false;
    StatePersistence* left_ CAIRN_GUARDED_BY(mutex_) = nullptr;  // the service, if nobody holds it any more
    std::vector<std::shared_ptr<Closing>> to_close_ CAIRN_GUARDED_BY(mutex_);
};

template <auto Call, class T, class Request>
StatePersistence::Submitted StatePersistence::AsyncCalls::make_timed(StatePersistence& service, const Request& request,
                                                                     Completion<T> done) {
    return make<Request, T>(
        service, request.run_id, request.timeout, request,
        [](StatePersistence& its_service, Request& its_request, Milliseconds left, const Completion<T>& told) {
            its_request.timeout = left;
            told(std::invoke(Call, its_service, its_request));
        },
        std::move(done));
}

// `done` is copied into the call and kept here, because an error before the call has begun is told to it.
template <class Request, class T, class Given>
StatePersistence::Submitted StatePersistence::AsyncCalls::make(
    StatePersistence& service, std::string_view key, std::optional<Milliseconds> its_timeout, const Given& given,
    Begin<Request, T> begin,
    Completion<T> done) {  // NOLINT(performance-unnecessary-value-param)
    struct Call {
        Call(Ticket its_ticket, const Given& its_given, const Completion<T>& its_done)
            : ticket(std::move(its_ticket)), request(its_given), done(its_done) {}

        Ticket ticket;  // destroyed last: what the completion holds may be the last that holds the service (`let_go`)
        Request request;
        Completion<T> done;
    };
    Result<Ticket> ticket = admit();
    if (!ticket) {
        tell<T>(done, std::unexpected(ticket.error()));
        return {};
    }
    try {
        const auto call = std::make_shared<Call>(std::move(*ticket), given, done);
        const Deadline until = std::chrono::steady_clock::now() + bounded(its_timeout.value_or(timeout));
        return executor->submit(std::string(key), until, [&service, call, until, begin](Status admitted) {
            if (!admitted) {
                tell<T>(call->done, std::unexpected(std::move(admitted.error())));
            } else {
                try {
                    const auto left = std::chrono::ceil<Milliseconds>(until - std::chrono::steady_clock::now());
                    begin(service, call->request, std::max(left, Milliseconds::zero()),
                          [call](Result<T> result) { tell<T>(call->done, std::move(result)); });
                } catch (const std::exception&) {  // it has not begun, or is an own service's and has not told
                    tell<T>(call->done, std::unexpected(caught_error()));
                }
            }
            call->ticket.has_begun();
        });
    } catch (const std::exception&) {
        tell<T>(done, std::unexpected(caught_error()));
        return {};
    }
}

}  // namespace cairn
