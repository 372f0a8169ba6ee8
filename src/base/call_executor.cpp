#include <cairn/call_executor.h>

#include "base/text_hash.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Call = std::function<void()>;

// This many threads work side by side as long as none of them is blocked.
constexpr std::size_t kEager = 4;
constexpr std::chrono::milliseconds kBlockedAfter{2};
constexpr std::chrono::seconds kIdleFor{5};

}  // namespace

// The threads share ownership of it, so that a call may destroy its own executor.
struct CallExecutor::Shared {
    struct Ready {
        std::string key;
        Call call;
    };

    std::mutex mutex;
    std::condition_variable work;   ///< Idle threads wait here.
    std::condition_variable pause;  ///< Threads wait here to see whether the others are blocked.
    std::condition_variable ended;
    // Everything below is guarded by the mutex:
    std::deque<Ready> ready;  ///< The first call of each key that has no running call.
    std::unordered_map<std::string, std::deque<Call>, TextHash, std::equal_to<>> behind;  ///< Of keys that have one.
    std::list<SteadyClock::time_point> begun;                                             ///< Of running calls.
    std::size_t threads = 0;
    std::size_t threads_max = 0;
    std::size_t idle = 0;
    std::size_t pausing = 0;
    bool is_ending = false;

    /// The time to wait before starting another call beside the running ones; nothing: start now.
    std::optional<SteadyClock::duration> pause_before_next() const;
    void finish(const std::string& key);
    /// Makes the first ready call. The caller holds the lock before and after.
    void make_one(std::unique_lock<std::mutex>& lock);
    /// Waits for work. Returns false if the wait was too long, or no more work will come.
    bool wait_for_work(std::unique_lock<std::mutex>& lock);

    static void run(const std::shared_ptr<Shared>& shared);
    static bool start_thread(const std::shared_ptr<Shared>& shared);
    static void ensure_thread(const std::shared_ptr<Shared>& shared);
};

namespace {
thread_local const void* tls_executor = nullptr;  // the executor that this thread belongs to
}  // namespace

std::optional<SteadyClock::duration> CallExecutor::Shared::pause_before_next() const {
    const SteadyClock::time_point now = SteadyClock::now();
    std::size_t working = 0;
    std::optional<SteadyClock::time_point> first;
    for (const SteadyClock::time_point begin : begun) {  // oldest first
        if (now - begin >= kBlockedAfter) continue;
        if (!first) first = begin;
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
    ready.push_back({key, std::move(found->second.front())});
    found->second.pop_front();
}

void CallExecutor::Shared::make_one(std::unique_lock<std::mutex>& lock) {
    Ready next = std::move(ready.front());
    ready.pop_front();
    const auto place = begun.insert(begun.end(), SteadyClock::now());
    lock.unlock();
    next.call();
    next.call = nullptr;  // its captures may use the executor
    lock.lock();
    begun.erase(place);
    finish(next.key);
}

bool CallExecutor::Shared::wait_for_work(std::unique_lock<std::mutex>& lock) {
    if (is_ending) return false;
    ++idle;
    const bool in_time = work.wait_for(lock, kIdleFor, [&] { return is_ending || !ready.empty(); });
    --idle;
    return in_time || threads <= kEager;
}

void CallExecutor::Shared::run(const std::shared_ptr<Shared>& shared) {
    tls_executor = shared.get();
    std::unique_lock lock(shared->mutex);
    while (!shared->ready.empty() || shared->wait_for_work(lock)) {
        if (shared->ready.empty()) continue;
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

bool CallExecutor::Shared::start_thread(const std::shared_ptr<Shared>& shared) {
    try {
        std::thread([shared] { run(shared); }).detach();
    } catch (const std::system_error&) {
        return false;
    }
    ++shared->threads;
    return true;
}

void CallExecutor::Shared::ensure_thread(const std::shared_ptr<Shared>& shared) {
    if (shared->idle > 0) {
        shared->work.notify_one();
    } else if (shared->threads < shared->threads_max && (shared->pausing == 0 || shared->begun.size() < kEager)) {
        start_thread(shared);
    }
}

CallExecutor::CallExecutor(std::size_t threads_max) : shared_(std::make_shared<Shared>()) {
    shared_->threads_max = threads_max;
}

CallExecutor::~CallExecutor() {
    std::unique_lock lock(shared_->mutex);
    shared_->is_ending = true;
    shared_->work.notify_all();
    const std::size_t own = tls_executor == shared_.get() ? 1 : 0;
    shared_->ended.wait(lock, [&] { return shared_->threads <= own; });
}

void CallExecutor::submit(std::string key, std::function<void()> call) {
    std::unique_lock lock(shared_->mutex);
    if (!key.empty()) {
        const auto [place, is_first] = shared_->behind.try_emplace(key);
        if (!is_first) {
            place->second.push_back(std::move(call));
            return;
        }
    }
    shared_->ready.push_back({std::move(key), std::move(call)});
    Shared::ensure_thread(shared_);
    while (shared_->threads == 0 && !shared_->ready.empty()) shared_->make_one(lock);
}

}  // namespace cairn
