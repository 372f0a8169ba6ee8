#pragma once

// What waits for one sink. Bounded: what does not fit is dropped, and the event after the gap says how much.

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

    /// Events are numbered from 1 in the order of these calls. When the queue is full the new event is dropped; but if
    /// it is the end of a run, it gets the place of the oldest progress, or else of the oldest that ends no run.
    void push(PipelineEvent event);
    /// The oldest, and its number.
    std::pair<std::uint64_t, PipelineEvent> pop();
    void count_drop() noexcept;

    bool empty() const noexcept { return events_.empty(); }
    std::size_t size() const noexcept { return events_.size(); }
    std::uint64_t last_number() const noexcept { return last_number_; }
    /// Whether an event that was pushed as this one or before waits.
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
    std::uint64_t dropped_ = 0;             ///< In all.
    std::uint64_t dropped_since_push_ = 0;  ///< For the next event to say.
};

}  // namespace cairn
