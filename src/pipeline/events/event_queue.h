#pragma once

// The events that wait for one sink. Bounded: events that do not fit are dropped, and the next one says how many.

#include <cairn/pipeline_events.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

namespace cairn {

/// Not thread-safe.
class EventQueue {
public:
    static constexpr std::size_t kEventsMax = 1024;

    /// Events are numbered from 1 in the order of these calls. When the queue is full, the new event is dropped. But if
    /// it is the end of a run, it takes the place of the oldest progress event, or else of the oldest that does not end
    /// a run.
    void push(PipelineEvent event);
    /// Removes and returns the oldest event, and its number.
    std::pair<std::uint64_t, PipelineEvent> pop();
    void count_drop() noexcept;

    bool empty() const noexcept { return events_.empty(); }
    std::size_t size() const noexcept { return events_.size(); }
    std::uint64_t last_number() const noexcept { return last_number_; }
    /// Says whether the event with this number, or an earlier one, is still queued.
    bool holds_up_to(std::uint64_t number) const noexcept;
    std::uint64_t dropped() const noexcept { return dropped_; }

private:
    struct Entry {
        std::uint64_t number;
        PipelineEvent event;
    };
    using Entries = std::deque<Entry>;

    bool make_room();
    void drop(const Entries::const_iterator& entry);

    Entries events_;
    std::uint64_t last_number_ = 0;
    std::uint64_t dropped_ = 0;             ///< The total.
    std::uint64_t dropped_since_push_ = 0;  ///< The next event reports them.
};

}  // namespace cairn
