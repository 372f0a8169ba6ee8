#pragma once

// Delivers events to sinks without ever waiting for a sink.

#include <cairn/pipeline_events.h>
#include <cairn/runtime.h>

#include <chrono>
#include <memory>
#include <vector>

namespace cairn {

/// Each sink has a thread of its own, started with its first event, and a queue (`EventQueue`). If a sink throws, that
/// is logged once (`event_sink_failed`), and it still gets later events.
/// Threads: safe to use concurrently, by several executions. Events that one thread publishes arrive in that order.
class EventDispatcher {
public:
    /// Null sinks are skipped.
    EventDispatcher(const std::vector<std::shared_ptr<EventSink>>& sinks, const Runtime& runtime);
    /// Waits one second at the most for queued events. The thread of a stuck sink is abandoned: it ends when the sink
    /// returns, and keeps the sink until then.
    ~EventDispatcher();
    EventDispatcher(const EventDispatcher&) = delete;
    EventDispatcher& operator=(const EventDispatcher&) = delete;

    void publish(const PipelineEvent& event) noexcept;

    /// Waits until all events published before this call are delivered or dropped, or until `patience` is over. Then
    /// logs the events dropped since the last time (`events_dropped`).
    void drain(std::chrono::milliseconds patience);

private:
    class Lane;

    std::vector<std::shared_ptr<Lane>> lanes_;
};

}  // namespace cairn
