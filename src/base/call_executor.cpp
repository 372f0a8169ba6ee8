#include <cairn/call_executor.h>

#include "base/text_hash.h"
#include "base/timer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
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
struct CallExecutor::Shared {
    using List = std::list<std::shared_ptr<Entry>>;
    using Lock = std::unique_lock<std::mutex>;

    std::mutex mutex;
    std::condition_variable work;   ///< Idle threads wait here.
    std::condition_variable pause;  ///< Threads wait here to see whether the others are blocked.
    std::condition_variable ended;
    // All of it under the mutex:
    List ready;                                                               ///< The first call of each key.
    std::unordered_map<std::string, List, TextHash, std::equal_to<>> behind;  ///< Of keys that have such a one.
    List begun;                                                               ///< The first begun in front.
    List refused;                                                             ///< To be told.
    Timer alarm;                                                              ///< Looks for what is late,
    Deadline alarm_at = Deadline::max();                                      ///< then.
    std::size_t threads = 0;
    std::size_t threads_max = 0;
    std::size_t idle = 0;
    std::size_t pausing = 0;
    bool is_ending = false;

    /// The time to wait before starting another call beside the running ones; nothing: start now.
    std::optional<SteadyClock::duration> pause_before_next() const;
    /// A call of the key has ended: the next one of it is ready.
    void finish(const std::string& key);
    /// Of one that has not begun. Its place in the order of its key goes to the next one.
    void refuse(const std::shared_ptr<Entry>& entry, ErrorCode reason);
    /// Makes the first ready call, or ends the first refused one. The lock is held before and after.
    void make_one(Lock& lock);
    void end_refused(Lock& lock);
    /// Waits for something to do. False: for too long, or there is nothing to come.
    bool wait_for_work(Lock& lock);

    using Owner = std::shared_ptr<Shared>;
    static void run(const Owner& shared);
    static bool start_thread(const Owner& shared);
    static void ensure_thread(const Owner& shared);
    static void ensure_thread_for_refusals(const Owner& shared);
    /// Looks for late calls at that time. The timer before is to be destroyed without the lock.
    [[nodiscard]] static Timer set_alarm(const Owner& shared, Deadline deadline);
    static void refuse_late(const Owner& shared);
    /// Queues the call; true: it has to wait for others.
    static bool admit(const Owner& shared, List& call);
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

void CallExecutor::Shared::make_one(Lock& lock) {
    const std::shared_ptr<Entry> entry = ready.front();
    entry->begun_at = SteadyClock::now();
    if (entry->begun_at >= entry->deadline) return refuse(entry, ErrorCode::kUnavailable);
    entry->stage = Entry::Stage::kMade;
    begun.splice(begun.end(), ready, entry->place);
    lock.unlock();
    entry->end({});
    lock.lock();
    begun.erase(entry->place);
    finish(entry->key);
}

void CallExecutor::Shared::end_refused(Lock& lock) {
    const std::shared_ptr<Entry> entry = refused.front();
    refused.pop_front();
    lock.unlock();
    try {
        entry->end(entry->refusal_error());
    } catch (const std::exception&) {
        entry->end(std::unexpected(Error{.code = entry->refusal, .message = {}}));  // there is no memory for more
    }
    lock.lock();
}

bool CallExecutor::Shared::wait_for_work(Lock& lock) {
    if (is_ending) return false;
    ++idle;
    const bool in_time = work.wait_for(lock, kIdleFor, [&] { return is_ending || !ready.empty() || !refused.empty(); });
    --idle;
    return in_time;
}

void CallExecutor::Shared::run(const Owner& shared) {
    tls_executor = shared.get();
    Lock lock(shared->mutex);
    while (true) {
        if (!shared->refused.empty()) {
            shared->end_refused(lock);
            continue;
        }
        if (shared->threads > shared->threads_max) break;
        if (shared->ready.empty()) {
            if (!shared->wait_for_work(lock)) break;
            continue;
        }
        if (const auto pause = shared->pause_before_next()) {
            ++shared->pausing;
            shared->pause.wait_for(lock, *pause);
            --shared->pausing;
            continue;
        }
        // The next call must find a thread, in case this one blocks.
        if (shared->ready.size() > 1) ensure_thread(shared);
        shared->make_one(lock);
    }
    --shared->threads;
    shared->ended.notify_all();
}

bool CallExecutor::Shared::start_thread(const Owner& shared) {
    try {
        std::thread([shared] { run(shared); }).detach();
    } catch (const std::exception&) {
        return false;
    }
    ++shared->threads;
    return true;
}

void CallExecutor::Shared::ensure_thread(const Owner& shared) {
    if (shared->idle > 0) {
        shared->work.notify_one();
    } else if (shared->threads < shared->threads_max && (shared->pausing == 0 || shared->begun.size() < kEager)) {
        start_thread(shared);
    }
}

void CallExecutor::Shared::ensure_thread_for_refusals(const Owner& shared) {
    if (shared->refused.empty() || shared->pausing > 0) return;
    if (shared->idle > 0) {
        shared->work.notify_one();
    } else if (shared->threads <= shared->threads_max) {
        start_thread(shared);
    }
}

Timer CallExecutor::Shared::set_alarm(const Owner& shared, Deadline deadline) {
    if (deadline >= shared->alarm_at) return {};
    try {
        Timer alarm(deadline, [weak = std::weak_ptr<Shared>(shared)] {
            if (const Owner locked = weak.lock()) refuse_late(locked);
        });
        shared->alarm_at = deadline;
        return std::exchange(shared->alarm, std::move(alarm));
    } catch (const std::exception&) {
        return {};  // without a thread or memory for it, late calls are found when it is their turn
    }
}

void CallExecutor::Shared::refuse_late(const Owner& shared) {
    Timer spent;
    const Lock lock(shared->mutex);
    const Deadline now = SteadyClock::now();
    Deadline next = Deadline::max();
    const auto look = [&](List& waiting) {
        for (auto at = waiting.begin(); at != waiting.end();) {
            const std::shared_ptr<Entry> entry = *at++;
            if (entry->deadline <= now) {
                shared->refuse(entry, ErrorCode::kUnavailable);
            } else {
                next = std::min(next, entry->deadline);
            }
        }
    };
    for (auto& [key, waiting] : shared->behind) look(waiting);
    look(shared->ready);
    shared->alarm_at = Deadline::max();
    spent = set_alarm(shared, next);
    ensure_thread_for_refusals(shared);
}

bool CallExecutor::Shared::admit(const Owner& shared, List& call) {
    Entry& entry = *call.front();
    entry.place = call.begin();
    if (!entry.key.empty()) {
        const auto [place, is_first] = shared->behind.try_emplace(entry.key);
        if (!is_first) {
            entry.stage = Entry::Stage::kBehind;
            place->second.splice(place->second.end(), call);
            return true;
        }
    }
    shared->ready.splice(shared->ready.end(), call);
    ensure_thread(shared);
    return shared->idle == 0 && shared->threads >= shared->threads_max;
}

CallExecutor::CallExecutor(std::size_t threads_max) : shared_(std::make_shared<Shared>()) {
    shared_->threads_max = std::max<std::size_t>(threads_max, 1);
}

CallExecutor::~CallExecutor() {
    Shared::Lock lock(shared_->mutex);
    shared_->is_ending = true;
    shared_->work.notify_all();
    const std::size_t own = tls_executor == shared_.get() ? 1 : 0;
    shared_->ended.wait(lock, [&] { return shared_->threads <= own; });
}

CallExecutor::Submitted CallExecutor::submit(std::string key, Deadline deadline, std::function<void(Status)> call) {
    const auto entry = std::make_shared<Entry>(std::move(key), deadline, std::move(call));
    Shared::List node{entry};
    Submitted submitted;
    submitted.executor_ = shared_;
    submitted.entry_ = entry;
    Timer spent;
    const std::shared_ptr<Shared> shared = shared_;  // a call that is made here may destroy the executor
    Shared::Lock lock(shared->mutex);
    if (Shared::admit(shared, node)) spent = Shared::set_alarm(shared, deadline);
    while (shared->threads == 0 && !shared->ready.empty()) shared->make_one(lock);
    while (shared->threads == 0 && !shared->refused.empty()) shared->end_refused(lock);
    return submitted;
}

void CallExecutor::submit(std::string key, std::function<void()> call) {
    submit(std::move(key), Deadline::max(), [call = std::move(call)](const Status&) { call(); });
}

bool CallExecutor::Submitted::cancel() const noexcept {
    const std::shared_ptr<Shared> shared = executor_.lock();
    const std::shared_ptr<Entry> entry = entry_.lock();
    if (!shared || !entry) return false;
    const Shared::Lock lock(shared->mutex);
    if (entry->stage != Entry::Stage::kBehind && entry->stage != Entry::Stage::kReady) return false;
    shared->refuse(entry, ErrorCode::kCancelled);
    Shared::ensure_thread_for_refusals(shared);
    return true;
}

}  // namespace cairn
