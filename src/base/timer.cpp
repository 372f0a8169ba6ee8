#include "base/timer.h"

#include "base/per_process.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace cairn {
namespace {

/// The timer thread of a process, and the timers that it waits for.
struct Alarm {
    std::mutex mutex;
    std::condition_variable changed;  ///< Another timer has become the first one.
    std::condition_variable ended;    ///< A call has ended.
    // Guarded by the mutex:
    std::multimap<Timer::Time, std::shared_ptr<Timer::Entry>> waiting;
    std::thread::id thread;  ///< None: not started yet.

    void run();
};

}  // namespace

struct Timer::Entry {
    Alarm* alarm = nullptr;
    std::function<void()> call;
    std::multimap<Time, std::shared_ptr<Entry>>::iterator place;  ///< Valid while the timer waits.
    enum class State : std::uint8_t { kWaiting, kCalled, kOver } state = State::kWaiting;  // under the alarm's mutex
};

namespace {

void Alarm::run() {
    std::unique_lock lock(mutex);
    while (true) {
        if (waiting.empty()) {
            changed.wait(lock);
            continue;
        }
        const auto first = waiting.begin();
        if (const Timer::Time time = first->first; std::chrono::steady_clock::now() < time) {
            changed.wait_until(lock, time);
            continue;
        }
        const std::shared_ptr<Timer::Entry> entry = std::move(first->second);
        waiting.erase(first);
        entry->state = Timer::Entry::State::kCalled;
        lock.unlock();
        entry->call();
        lock.lock();
        entry->state = Timer::Entry::State::kOver;
        ended.notify_all();
    }
}

}  // namespace

Timer::Timer(Time time, std::function<void()> call) : entry_(std::make_shared<Entry>()) {
    Alarm& alarm = of_this_process<Alarm>();
    entry_->alarm = &alarm;
    entry_->call = std::move(call);
    const std::lock_guard lock(alarm.mutex);
    if (alarm.thread == std::thread::id()) {
        std::thread thread([&alarm] { alarm.run(); });
        alarm.thread = thread.get_id();
        thread.detach();
    }
    entry_->place = alarm.waiting.emplace(time, entry_);
    if (entry_->place == alarm.waiting.begin()) alarm.changed.notify_one();
}

Timer& Timer::operator=(Timer&& other) noexcept {
    if (this != &other) {
        cancel();
        entry_ = std::move(other.entry_);
    }
    return *this;
}

void Timer::cancel() noexcept {
    if (!entry_) return;
    const std::shared_ptr<Entry> entry = std::exchange(entry_, nullptr);
    Alarm& alarm = *entry->alarm;
    std::unique_lock lock(alarm.mutex);
    if (entry->state == Entry::State::kWaiting) {
        alarm.waiting.erase(entry->place);
    } else if (alarm.thread != std::this_thread::get_id()) {
        alarm.ended.wait(lock, [&] { return entry->state == Entry::State::kOver; });
    }
}

}  // namespace cairn
