#include "pipeline/events/event_queue.h"

#include <algorithm>

namespace cairn {
namespace {

using Type = PipelineEvent::Type;

}  // namespace

void EventQueue::push(PipelineEvent event) {
    ++last_number_;
    const bool has_room = events_.size() < kEventsMax || (event.type == Type::kCompleted && make_room());
    if (!has_room) return count_drop();
    events_.push_back({.number = last_number_, .event = std::move(event)});
    events_.back().event.dropped = std::exchange(dropped_since_push_, 0);
}

std::pair<std::uint64_t, PipelineEvent> EventQueue::pop() {
    Entry oldest = std::move(events_.front());
    events_.pop_front();
    return {oldest.number, std::move(oldest.event)};
}

void EventQueue::count_drop() noexcept {
    ++dropped_;
    ++dropped_since_push_;
}

bool EventQueue::holds_up_to(std::uint64_t number) const noexcept {
    return !events_.empty() && events_.front().number <= number;
}

bool EventQueue::make_room() {
    const auto type = [](const Entry& entry) { return entry.event.type; };
    auto victim = std::ranges::find(events_, Type::kStepProgress, type);
    if (victim == events_.end()) {
        victim = std::ranges::find_if(events_, [](Type other) { return other != Type::kCompleted; }, type);
    }
    if (victim == events_.end()) return false;
    drop(victim);
    return true;
}

// The next event takes over the drop count of the dropped one.
void EventQueue::drop(const Entries::const_iterator& entry) {
    const std::uint64_t gap = entry->event.dropped + 1;
    const auto next = events_.erase(entry);
    (next == events_.end() ? dropped_since_push_ : next->event.dropped) += gap;
    ++dropped_;
}

}  // namespace cairn
