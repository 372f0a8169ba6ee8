#include "persistence/async_calls.h"

#include <new>
#include <string>

namespace cairn {

/// A `close` that a completion is told of.
struct StatePersistence::AsyncCalls::Closing {
    StatePersistence& service;
    Completion<void> done;
};

StatePersistence::AsyncCalls::AsyncCalls(std::shared_ptr<CallExecutor> its_executor, Milliseconds its_timeout)
    : executor(its_executor ? std::move(its_executor) : std::make_shared<CallExecutor>()),
      timeout(bounded(its_timeout)) {}

Result<StatePersistence::AsyncCalls::Ticket> StatePersistence::AsyncCalls::admit() {
    if (is_forked()) {
        return fail(ErrorCode::kClosed, "the service was made by the process that this one was forked from");
    }
    const MutexLock lock(mutex_);
    if (is_refusing_) return fail(ErrorCode::kClosed, "the service was closed");
    ++to_begin_;
    ++under_way_;
    return Ticket(*this);
}

StatePersistence::AsyncCalls::Ticket::~Ticket() {
    if (calls_ == nullptr) return;
    has_begun();
    calls_->count_down(&AsyncCalls::under_way_);
}

// Of those under way, or of those that close.
void StatePersistence::AsyncCalls::count_down(std::size_t AsyncCalls::* calls) noexcept {
    StatePersistence* left = nullptr;
    {
        const MutexLock lock(mutex_);
        --(this->*calls);
        if (under_way_ == 0 && closing_ == 0) left = std::exchange(left_, nullptr);
        changed_.notify_all();  // under the lock: without it, this may be gone
    }
    if (left == nullptr) return;
    try {
        // Not here: this may be the thread that commits, which the service waits for.
        executor->submit("", [left] { delete left; });
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): without memory it stays as it is
    }
}

void StatePersistence::AsyncCalls::Ticket::has_begun() {
    if (std::exchange(is_begun_, true)) return;
    std::vector<std::shared_ptr<Closing>> to_close;
    {
        const MutexLock lock(calls_->mutex_);
        if (--calls_->to_begin_ > 0) return;
        to_close.swap(calls_->to_close_);
        calls_->changed_.notify_all();
    }
    for (const std::shared_ptr<Closing>& closing : to_close) calls_->begin_closing(closing);
}

void StatePersistence::AsyncCalls::close(StatePersistence& service, const Completion<void>& done) {
    if (is_forked()) return tell<void>(done, fail(ErrorCode::kClosed, "the service belongs to the parent process"));
    try {
        auto closing = std::make_shared<Closing>(service, done);
        {
            const MutexLock lock(mutex_);
            is_refusing_ = true;
            if (to_begin_ > 0) {
                to_close_.push_back(std::move(closing));
                ++closing_;
                return;
            }
            ++closing_;
        }
        begin_closing(closing);
    } catch (const std::exception&) {
        tell<void>(done, std::unexpected(caught_error()));
    }
}

void StatePersistence::AsyncCalls::begin_closing(const std::shared_ptr<Closing>& closing) noexcept {
    const auto end = [this](Closing& ended, Status status) {
        tell<void>(ended.done, std::move(status));
        ended.done = nullptr;  // which may be the last that holds the service (`let_go`)
        count_down(&AsyncCalls::closing_);
    };
    try {
        executor->submit("", [closing, end] { end(*closing, closing->service.close()); });
    } catch (const std::exception&) {
        end(*closing, std::unexpected(caught_error()));
    }
}

void StatePersistence::AsyncCalls::wait_until_begun() {
    const MutexLock lock(mutex_);
    is_refusing_ = true;
    while (to_begin_ > 0) changed_.wait(mutex_);
}

void StatePersistence::AsyncCalls::wait_until_ended() {
    const MutexLock lock(mutex_);
    is_refusing_ = true;
    while (under_way_ > 0) changed_.wait(mutex_);
}

void StatePersistence::AsyncCalls::wait_until_closed() {
    const MutexLock lock(mutex_);
    is_refusing_ = true;
    while (under_way_ > 0 || closing_ > 0) changed_.wait(mutex_);
}

bool StatePersistence::AsyncCalls::leave_to_the_last(StatePersistence& service) {
    const MutexLock lock(mutex_);
    if (under_way_ == 0 && closing_ == 0) return false;
    left_ = &service;
    return true;
}

// ---- the interface ----

StatePersistence::StatePersistence(std::shared_ptr<CallExecutor> executor, std::chrono::milliseconds timeout)
    : async_calls_(std::make_shared<AsyncCalls>(std::move(executor), timeout)) {}

StatePersistence::~StatePersistence() {
    // In a forked child the executor's threads are not there to be waited for, so the calls stay for ever.
    if (async_calls_->is_forked()) new (std::nothrow) std::shared_ptr<AsyncCalls>(std::move(async_calls_));
}

void StatePersistence::end_async_calls() noexcept {
    if (!async_calls_->is_forked()) async_calls_->wait_until_closed();
}

void StatePersistence::let_go(StatePersistence* service) noexcept {
    AsyncCalls& calls = *service->async_calls_;
    if (calls.is_forked() || !calls.leave_to_the_last(*service)) delete service;
}

StatePersistence::Submitted StatePersistence::save_agent_state_async(const StatePersistenceRequest& request,
                                                                     SaveCompletion done) {
    return async_calls_->make_timed<&StatePersistence::save_agent_state>(*this, request, std::move(done));
}

StatePersistence::Submitted StatePersistence::load_agent_state_async(const LoadRequest& request,
                                                                     Completion<LoadedState> done) {
    return async_calls_->make_timed<&StatePersistence::load_agent_state>(*this, request, std::move(done));
}

StatePersistence::Submitted StatePersistence::recover_agent_state_async(const StateRecoveryRequest& request,
                                                                        Completion<RecoveryResult> done) {
    return async_calls_->make_timed<&StatePersistence::recover_agent_state>(*this, request, std::move(done));
}

namespace {

struct ThreadRequest {
    std::string thread_id;
    std::optional<std::string> user_id;

    explicit ThreadRequest(const std::pair<std::string_view, std::optional<std::string_view>>& names)
        : thread_id(names.first), user_id(names.second) {}
};

}  // namespace

StatePersistence::Submitted StatePersistence::get_thread_context_async(std::string_view thread_id,
                                                                       std::optional<std::string_view> user_id,
                                                                       std::optional<std::chrono::milliseconds> timeout,
                                                                       Completion<ThreadContext> done) {
    return async_calls_->make<ThreadRequest, ThreadContext>(
        *this, "", timeout, std::pair(thread_id, user_id),
        [](StatePersistence& service, ThreadRequest& thread, AsyncCalls::Milliseconds left,
           const Completion<ThreadContext>& told) {
            told(service.get_thread_context(thread.thread_id, thread.user_id, left));
        },
        std::move(done));
}

StatePersistence::Submitted StatePersistence::flush_async(std::string_view run_id,
                                                          std::optional<std::chrono::milliseconds> timeout,
                                                          Completion<void> done) {
    return async_calls_->make<std::string, void>(
        *this, run_id, timeout, run_id,
        [](StatePersistence& service, std::string& run, AsyncCalls::Milliseconds left, const Completion<void>& told) {
            told(service.flush(run, left));
        },
        std::move(done));
}

StatePersistence::Submitted StatePersistence::flush_all_async(std::optional<std::chrono::milliseconds> timeout,
                                                              Completion<void> done) {
    return async_calls_->make<std::nullptr_t, void>(
        *this, "", timeout, nullptr,
        [](StatePersistence& service, std::nullptr_t&, AsyncCalls::Milliseconds left, const Completion<void>& told) {
            told(service.flush_all(left));
        },
        std::move(done));
}

// By value, like the other calls.
void StatePersistence::close_async(Completion<void> done) {  // NOLINT(performance-unnecessary-value-param)
    async_calls_->close(*this, done);
}

}  // namespace cairn
