#include "pipeline/events/event_dispatcher.h"

#include "pipeline/events/event_queue.h"

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <exception>
#include <string>
#include <thread>
#include <utility>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatienceAtEnd{1};
constexpr std::chrono::hours kPatienceMax{24};  // so that adding it to a time is safe

}  // namespace

/// The queue and thread of one sink. The thread shares ownership, so that it lasts as long as the sink is being called.
class EventDispatcher::Lane : public std::enable_shared_from_this<Lane> {
public:
    Lane(std::shared_ptr<EventSink> sink, std::size_t index, LogSink log)
        : sink_(std::move(sink)), index_(index), log_(std::move(log)) {}

    void push(const PipelineEvent& event) noexcept {
        const MutexLock lock(mutex_);
        try {
            if (!thread_.joinable()) {
                thread_ = std::thread([self = shared_from_this()] { self->deliver(); });
            }
            queue_.push(event);
        } catch (const std::exception&) {  // no thread or no memory is left
            queue_.count_drop();
        }
        changed_.notify_all();
    }

    void drain(SteadyClock::time_point deadline) { log_drops(drain_until(deadline)); }

    void close() {
        const MutexLock lock(mutex_);
        is_closing_ = true;
        changed_.notify_all();
    }

    /// Call it after `close`. Nothing is delivered afterwards.
    void end(SteadyClock::time_point deadline) {
        std::uint64_t dropped = 0;
        bool has_ended = false;
        std::thread thread;
        {
            const MutexLock lock(mutex_);
            if (!thread_.joinable()) return;
            while (!has_ended_ && changed_.wait_until(mutex_, deadline)) {
            }
            has_ended = has_ended_;
            is_abandoned_ = true;
            dropped = queue_.dropped() - dropped_logged_ + queue_.size();
            thread = std::move(thread_);
        }
        has_ended ? thread.join() : thread.detach();
        log_drops(dropped);
    }

private:
    // Returns the number of the events that were dropped since the last time.
    std::uint64_t drain_until(SteadyClock::time_point deadline) {
        const MutexLock lock(mutex_);
        const std::uint64_t last = queue_.last_number();
        while (!is_done_up_to(last) && changed_.wait_until(mutex_, deadline)) {
        }
        return queue_.dropped() - std::exchange(dropped_logged_, queue_.dropped());
    }

    void deliver() noexcept {
        block_broken_pipes();
        const MutexLock lock(mutex_);
        while (true) {
            while (queue_.empty() && !is_closing_) changed_.wait(mutex_);
            if (is_abandoned_ || queue_.empty()) break;
            auto [number, event] = queue_.pop();
            in_delivery_ = number;
            mutex_.unlock();
            tell(event);
            mutex_.lock();
            in_delivery_ = 0;
            changed_.notify_all();
        }
        has_ended_ = true;
        changed_.notify_all();
    }

    // If the reader of a sink has gone, the sink gets an error from its write(2), instead of the process being ended.
    static void block_broken_pipes() noexcept {
        sigset_t broken_pipe;
        sigemptyset(&broken_pipe);
        sigaddset(&broken_pipe, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    }

    void tell(const PipelineEvent& event) noexcept {
        try {
            sink_->on_event(event);
        } catch (const std::exception& exception) {
            log_failure(exception.what());
        } catch (...) {
            log_failure("it threw what is no std::exception");
        }
    }

    void log_failure(const char* reason) noexcept {
        if (std::exchange(is_failure_logged_, true)) return;
        try {
            log_({.level = LogLevel::kWarning,
                  .event = "event_sink_failed",
                  .message = fmt::format("a sink of events failed: {}; this is said once", reason),
                  .fields = {{"sink", fmt::to_string(index_)}}});
        } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory left to log it
        }
    }

    void log_drops(std::uint64_t dropped) {
        if (dropped == 0) return;
        log_({.level = LogLevel::kWarning,
              .event = "events_dropped",
              .message = "a sink of events was too slow: some were not delivered to it",
              .fields = {{"sink", fmt::to_string(index_)}, {"events", fmt::to_string(dropped)}}});
    }

    bool is_done_up_to(std::uint64_t number) const CAIRN_REQUIRES(mutex_) {
        const bool is_telling = in_delivery_ != 0 && in_delivery_ <= number;
        return !is_telling && !queue_.holds_up_to(number);
    }

    const std::shared_ptr<EventSink> sink_;
    const std::size_t index_;  ///< Index of the sink, for the log.
    const LogSink log_;
    bool is_failure_logged_ = false;  ///< Used only by the thread.

    Mutex mutex_;
    ConditionVariable changed_;
    EventQueue queue_ CAIRN_GUARDED_BY(mutex_);
    std::uint64_t in_delivery_ CAIRN_GUARDED_BY(mutex_) = 0;  ///< Number of the event being delivered; 0: none.
    std::uint64_t dropped_logged_ CAIRN_GUARDED_BY(mutex_) = 0;
    bool is_closing_ CAIRN_GUARDED_BY(mutex_) = false;    ///< Deliver what is queued, then end.
    bool is_abandoned_ CAIRN_GUARDED_BY(mutex_) = false;  ///< Deliver nothing more.
    bool has_ended_ CAIRN_GUARDED_BY(mutex_) = false;
    std::thread thread_ CAIRN_GUARDED_BY(mutex_);
};

EventDispatcher::EventDispatcher(const std::vector<std::shared_ptr<EventSink>>& sinks, const Runtime& runtime) {
    const LogSink log = runtime.with_defaults().log;
    for (const std::shared_ptr<EventSink>& sink : sinks) {
        if (sink) lanes_.push_back(std::make_shared<Lane>(sink, lanes_.size(), log));
    }
}

EventDispatcher::~EventDispatcher() {
    const auto deadline = SteadyClock::now() + kPatienceAtEnd;
    for (const auto& lane : lanes_) lane->close();
    for (const auto& lane : lanes_) lane->end(deadline);
}

void EventDispatcher::publish(const PipelineEvent& event) noexcept {
    for (const auto& lane : lanes_) lane->push(event);
}

void EventDispatcher::drain(std::chrono::milliseconds patience) {
    const auto deadline = SteadyClock::now() +
                          std::clamp<std::chrono::milliseconds>(patience, std::chrono::milliseconds(0), kPatienceMax);
    for (const auto& lane : lanes_) lane->drain(deadline);
}

}  // namespace cairn
