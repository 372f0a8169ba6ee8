#pragma once

// Numbers and publishes the events of one execution.

#include "pipeline/events/event_dispatcher.h"

#include <cairn/pipeline_events.h>
#include <cairn/runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

namespace cairn {

/// Threads: safe to call concurrently; the order of the numbers is the order of delivery.
class RunEvents {
public:
    /// `common` holds the members that all events of the execution share.
    RunEvents(EventDispatcher* dispatcher, Runtime runtime, PipelineEvent common)
        : dispatcher_(dispatcher), runtime_(std::move(runtime)), common_(std::move(common)) {}

    /// Sets a member of all further events.
    void set_steps_completed(std::size_t count) { steps_completed_ = count; }

    /// `fill` sets the members of this event. It is not called if there is no dispatcher.
    template <class Fill>
    void tell(PipelineEvent::Type type, const Fill& fill) {
        if (dispatcher_ == nullptr) return;
        PipelineEvent event = common_;
        event.type = type;
        event.steps_completed = steps_completed_;
        fill(event);
        const std::lock_guard lock(mutex_);
        event.sequence = ++sequence_;
        event.time = runtime_.clock->now();
        dispatcher_->publish(event);
    }

private:
    EventDispatcher* const dispatcher_;  // null: nobody watches
    const Runtime runtime_;
    const PipelineEvent common_;
    std::atomic<std::size_t> steps_completed_ = 0;
    std::mutex mutex_;
    std::uint64_t sequence_ = 0;  // guarded by mutex_
};

}  // namespace cairn
