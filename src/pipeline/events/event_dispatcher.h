#pragma once

// Tells sinks of events without ever waiting for one.

#include <cairn/pipeline_events.h>
#include <cairn/runtime.h>

#include <chrono>
#include <memory>
#include <vector>

namespace cairn {

/// Each sink has a thread of its own, started with its first event, and a queue (`EventQueue`). A sink that throws is
/// logged once (`event_sink_failed`) and goes on to be told.
/// Threads: safe to use concurrently, by several executions. What one thread publishes arrives in that order.
class EventDispatcher {
public:
    /// Sinks that are null are passed over.
    EventDispatcher(const std::vector<std::shared_ptr<EventSink>>& sinks, const Runtime& runtime);
    /// Waits one second at the most for what is queued. The thread of a sink that is stuck is abandoned: it ends when
    /// the sink returns, and keeps the sink until then.
    ~EventDispatcher();
    EventDispatcher(const EventDispatcher&) = delete;
    EventDispatcher& operator=(const EventDispatcher&) = delete;

    void publish(const PipelineEvent& event) noexcept;

    /// Waits until all that was published before this call is delivered or dropped, or until `patience` is over, and
    /// logs what was dropped since the last time (`events_dropped`).
    void drain(std::chrono::milliseconds patience);

private:
    class Lane;

    std::vector<std::shared_ptr<Lane>> lanes_;
};

}  // namespace cairn
