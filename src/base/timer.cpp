#include "base/timer.h"

#include "base/mutex.h"
#include "base/per_process.h"
#include "base/thread_annotations.h"

#include <map>
#include <thread>
#include <utility>

namespace cairn {
namespace {

/// The timer thread of a process, and the timers that it waits for.
struct Alarm {
    Mutex mutex;
    ConditionVariable changed;  ///< Another timer has become the first one.
    ConditionVariable ended;    ///< A call has ended.
    std::multimap<Timer::Time, std::shared_ptr<Timer::Entry>> waiting CAIRN_GUARDED_BY(mutex);
    std::thread::id thread CAIRN_GUARDED_BY(mutex);  ///< None: not started yet.

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
    const MutexLock lock(mutex);
    while (true) {
        if (waiting.empty()) {
            changed.wait(mutex);
            continue;
        }
        const auto first = waiting.begin();
        if (const Timer::Time time = first->first; std::chrono::steady_clock::now() < time) {
            changed.wait_until(mutex, time);
            continue;
        }
        const std::shared_ptr<Timer::Entry> entry = std::move(first->second);
        waiting.erase(first);
        entry->state = Timer::Entry::State::kCalled;
        mutex.unlock();
        entry->call();
        mutex.lock();
        entry->state = Timer::Entry::State::kOver;
        ended.notify_all();
    }
}

}  // namespace

Timer::Timer(Time time, std::function<void()> call) : entry_(std::make_shared<Entry>()) {
    Alarm& alarm = of_this_process<Alarm>();
    entry_->alarm = &alarm;
    entry_->call = std::move(call);
    const MutexLock lock(alarm.mutex);
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
    const MutexLock lock(alarm.mutex);
    if (entry->state == Entry::State::kWaiting) {
        alarm.waiting.erase(entry->place);
    } else if (alarm.thread != std::this_thread::get_id()) {
        while (entry->state != Entry::State::kOver) alarm.ended.wait(alarm.mutex);
    }
}

}  // namespace cairn
