#include <cairn/call_executor.h>

#include "base/mutex.h"
#include "base/text_hash.h"
#include "base/thread_annotations.h"
#include "base/timer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;

// This many threads work side by side as long as none of them is blocked.
constexpr std::size_t kEager = 4;
constexpr std::chrono::milliseconds kBlockedAfter{2};
constexpr std::chrono::seconds kIdleFor{5};

}  // namespace

/// A call, until it has ended. It goes from list to list, so that nothing needs memory once it was submitted.
struct CallExecutor::Entry {
    enum class Stage : std::uint8_t { kBehind, kReady, kRefused, kMade };

    const std::string key;
    const Deadline deadline;
    std::function<void(Status)> call;
    // Under the executor's mutex:
    Stage stage = Stage::kReady;
    ErrorCode refusal = ErrorCode::kCancelled;
    SteadyClock::time_point begun_at = {};
    std::list<std::shared_ptr<Entry>>::iterator place = {};

    void end(Status admitted) noexcept;
    std::unexpected<Error> refusal_error() const;
};

// Threads share it, so that a call may destroy the executor that makes it.
struct CallExecutor::Shared : std::enable_shared_from_this<Shared> {
    using List = std::list<std::shared_ptr<Entry>>;
    using Waiting = std::unordered_map<std::string, List, TextHash, std::equal_to<>>;

    explicit Shared(std::size_t most_threads) : threads_max(most_threads) {}

    const std::size_t threads_max;
    Mutex mutex;
    ConditionVariable work;   ///< Idle threads wait here.
    ConditionVariable pause;  ///< Threads wait here to see whether the others are blocked.
    ConditionVariable ended;
    List ready CAIRN_GUARDED_BY(mutex);                           ///< The first call of each key.
    Waiting behind CAIRN_GUARDED_BY(mutex);                       ///< Of keys that have such a one.
    List begun CAIRN_GUARDED_BY(mutex);                           ///< The first begun in front.
    List refused CAIRN_GUARDED_BY(mutex);                         ///< To be told.
    Timer alarm CAIRN_GUARDED_BY(mutex);                          ///< Looks for what is late,
    Deadline alarm_at CAIRN_GUARDED_BY(mutex) = Deadline::max();  ///< then.
    std::size_t threads CAIRN_GUARDED_BY(mutex) = 0;
    std::size_t idle CAIRN_GUARDED_BY(mutex) = 0;
    std::size_t pausing CAIRN_GUARDED_BY(mutex) = 0;
    bool is_ending CAIRN_GUARDED_BY(mutex) = false;

    /// The time to wait before starting another call beside the running ones; nothing: start now.
    std::optional<SteadyClock::duration> pause_before_next() const CAIRN_REQUIRES(mutex);
    /// A call of the key has ended: the next one of it is ready.
    void finish(const std::string& key) CAIRN_REQUIRES(mutex);
    /// Of one that has not begun. Its place in the order of its key goes to the next one.
    void refuse(const std::shared_ptr<Entry>& entry, ErrorCode reason) CAIRN_REQUIRES(mutex);
    /// Makes the first ready call, or ends the first refused one.
    void make_one() CAIRN_REQUIRES(mutex);
    void end_refused() CAIRN_REQUIRES(mutex);
    bool has_work() const CAIRN_REQUIRES(mutex) { return !ready.empty() || !refused.empty(); }
    /// Waits for something to do. False: for too long, or there is nothing to come.
    bool wait_for_work() CAIRN_REQUIRES(mutex);

    void run() CAIRN_EXCLUDES(mutex);
    bool start_thread() CAIRN_REQUIRES(mutex);
    void ensure_thread() CAIRN_REQUIRES(mutex);
    void ensure_thread_for_refusals() CAIRN_REQUIRES(mutex);
    /// Looks for late calls at that time. The timer before is to be destroyed without the lock.
    [[nodiscard]] Timer set_alarm(Deadline deadline) CAIRN_REQUIRES(mutex);
    void refuse_late() CAIRN_EXCLUDES(mutex);
    /// Returns the first deadline of the calls that are not late.
    Deadline refuse_late(List& waiting, Deadline now) CAIRN_REQUIRES(mutex);
    /// Queues the call; true: it has to wait for others.
    bool admit(List& call) CAIRN_REQUIRES(mutex);
};

namespace {
thread_local const void* tls_executor = nullptr;  // the executor that this thread belongs to
}  // namespace

// Makes the call and drops it with its captures, which may use the executor.
void CallExecutor::Entry::end(Status admitted) noexcept {
    try {
        call(std::move(admitted));
        call = nullptr;
    } catch (...) {  // NOLINT(bugprone-empty-catch): nobody here can handle a call's error
    }
}

std::unexpected<Error> CallExecutor::Entry::refusal_error() const {
    if (refusal == ErrorCode::kCancelled) return fail(refusal, "the call was cancelled before it began");
    if (key.empty()) return fail(refusal, "the call could not begin before its deadline");
    return fail(refusal, fmt::format("an earlier call of \"{}\" was still under way at the deadline", key));
}

std::optional<SteadyClock::duration> CallExecutor::Shared::pause_before_next() const {
    const SteadyClock::time_point now = SteadyClock::now();
    std::size_t working = 0;
    std::optional<SteadyClock::time_point> first;
    for (const auto& entry : begun) {
        if (now - entry->begun_at >= kBlockedAfter) continue;
        if (!first) first = entry->begun_at;
        ++working;
    }
    if (working < kEager) return std::nullopt;
    return *first + kBlockedAfter - now;
}

void CallExecutor::Shared::finish(const std::string& key) {
    if (key.empty()) return;
    const auto found = behind.find(key);
    if (found->second.empty()) {
        behind.erase(found);
        return;
    }
    found->second.front()->stage = Entry::Stage::kReady;
    ready.splice(ready.end(), found->second, found->second.begin());
}

void CallExecutor::Shared::refuse(const std::shared_ptr<Entry>& entry, ErrorCode reason) {
    const bool was_ready = entry->stage == Entry::Stage::kReady;
    entry->stage = Entry::Stage::kRefused;
    entry->refusal = reason;
    refused.splice(refused.end(), was_ready ? ready : behind.find(entry->key)->second, entry->place);
    if (was_ready) finish(entry->key);
}

void CallExecutor::Shared::make_one() {
    const std::shared_ptr<Entry> entry = ready.front();
    entry->begun_at = SteadyClock::now();
    if (entry->begun_at >= entry->deadline) return refuse(entry, ErrorCode::kUnavailable);
    entry->stage = Entry::Stage::kMade;
    begun.splice(begun.end(), ready, entry->place);
    mutex.unlock();
    entry->end({});
    mutex.lock();
    begun.erase(entry->place);
    finish(entry->key);
}

void CallExecutor::Shared::end_refused() {
    const std::shared_ptr<Entry> entry = refused.front();
    refused.pop_front();
    mutex.unlock();
    try {
        entry->end(entry->refusal_error());
    } catch (const std::exception&) {
        entry->end(std::unexpected(Error{.code = entry->refusal, .message = {}}));  // there is no memory for more
    }
    mutex.lock();
}

bool CallExecutor::Shared::wait_for_work() {
    const SteadyClock::time_point until = SteadyClock::now() + kIdleFor;
    ++idle;
    while (!is_ending && !has_work() && work.wait_until(mutex, until)) {
    }
    --idle;
    return has_work();
}

void CallExecutor::Shared::run() {
    tls_executor = this;
    const MutexLock lock(mutex);
    while (true) {
        if (!refused.empty()) {
            end_refused();
            continue;
        }
        if (threads > threads_max) break;
        if (ready.empty()) {
            if (!wait_for_work()) break;
            continue;
        }
        if (const auto time = pause_before_next()) {
            ++pausing;
            pause.wait_until(mutex, SteadyClock::now() + *time);
            --pausing;
            continue;
        }
        // The next call must find a thread, in case this one blocks.
        if (ready.size() > 1) ensure_thread();
        make_one();
    }
    --threads;
    ended.notify_all();
}

bool CallExecutor::Shared::start_thread() {
    try {
        std::thread([shared = shared_from_this()] { shared->run(); }).detach();
    } catch (const std::exception&) {
        return false;
    }
    ++threads;
    return true;
}

void CallExecutor::Shared::ensure_thread() {
    if (idle > 0) {
        work.notify_one();
    } else if (threads < threads_max && (pausing == 0 || begun.size() < kEager)) {
        start_thread();
    }
}

void CallExecutor::Shared::ensure_thread_for_refusals() {
    if (refused.empty() || pausing > 0) return;
    if (idle > 0) {
        work.notify_one();
    } else if (threads <= threads_max) {
        start_thread();
    }
}

Timer CallExecutor::Shared::set_alarm(Deadline deadline) {
    if (deadline >= alarm_at) return {};
    try {
        Timer next(deadline, [weak = weak_from_this()] {
            if (const std::shared_ptr<Shared> shared = weak.lock()) shared->refuse_late();
        });
        alarm_at = deadline;
        return std::exchange(alarm, std::move(next));
    } catch (const std::exception&) {
        return {};  // without a thread or memory for it, late calls are found when it is their turn
    }
}

void CallExecutor::Shared::refuse_late() {
    Timer spent;
    const MutexLock lock(mutex);
    const Deadline now = SteadyClock::now();
    Deadline next = Deadline::max();
    for (auto& [key, waiting] : behind) next = std::min(next, refuse_late(waiting, now));
    next = std::min(next, refuse_late(ready, now));
    alarm_at = Deadline::max();
    spent = set_alarm(next);
    ensure_thread_for_refusals();
}

Deadline CallExecutor::Shared::refuse_late(List& waiting, Deadline now) {
    Deadline next = Deadline::max();
    for (auto at = waiting.begin(); at != waiting.end();) {
        const std::shared_ptr<Entry> entry = *at++;
        if (entry->deadline <= now) {
            refuse(entry, ErrorCode::kUnavailable);
        } else {
            next = std::min(next, entry->deadline);
        }
    }
    return next;
}

bool CallExecutor::Shared::admit(List& call) {
    Entry& entry = *call.front();
    entry.place = call.begin();
    if (!entry.key.empty()) {
        const auto [place, is_first] = behind.try_emplace(entry.key);
        if (!is_first) {
            entry.stage = Entry::Stage::kBehind;
            place->second.splice(place->second.end(), call);
            return true;
        }
    }
    ready.splice(ready.end(), call);
    ensure_thread();
    return idle == 0 && threads >= threads_max;
}

CallExecutor::CallExecutor(std::size_t threads_max)
    : shared_(std::make_shared<Shared>(std::max<std::size_t>(threads_max, 1))) {}

CallExecutor::~CallExecutor() {
    const MutexLock lock(shared_->mutex);
    shared_->is_ending = true;
    shared_->work.notify_all();
    const std::size_t own = tls_executor == shared_.get() ? 1 : 0;
    while (shared_->threads > own) shared_->ended.wait(shared_->mutex);
}

CallExecutor::Submitted CallExecutor::submit(std::string key, Deadline deadline, std::function<void(Status)> call) {
    const auto entry = std::make_shared<Entry>(std::move(key), deadline, std::move(call));
    Shared::List node{entry};
    Submitted submitted;
    submitted.executor_ = shared_;
    submitted.entry_ = entry;
    Timer spent;
    const std::shared_ptr<Shared> shared = shared_;  // a call that is made here may destroy the executor
    const MutexLock lock(shared->mutex);
    if (shared->admit(node)) spent = shared->set_alarm(deadline);
    while (shared->threads == 0 && !shared->ready.empty()) shared->make_one();
    while (shared->threads == 0 && !shared->refused.empty()) shared->end_refused();
    return submitted;
}

void CallExecutor::submit(std::string key, std::function<void()> call) {
    submit(std::move(key), Deadline::max(), [call = std::move(call)](const Status&) { call(); });
}

bool CallExecutor::Submitted::cancel() const noexcept {
    const std::shared_ptr<Shared> shared = executor_.lock();
    const std::shared_ptr<Entry> entry = entry_.lock();
    if (!shared || !entry) return false;
    const MutexLock lock(shared->mutex);
    if (entry->stage != Entry::Stage::kBehind && entry->stage != Entry::Stage::kReady) return false;
    shared->refuse(entry, ErrorCode::kCancelled);
    shared->ensure_thread_for_refusals();
    return true;
}

}  // namespace cairn
