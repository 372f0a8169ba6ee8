#include <cairn/run_events.h>

namespace cairn {

void RunEvents::tell_saved(const SaveEvent& save, std::string_view step) {
    tell(PipelineEvent::Type::kCheckpoint, [&](PipelineEvent& event) {
        event.step = step;
        event.duration = save.duration;
        event.checkpoint_type = save.checkpoint_type;
        event.agent_phase = save.agent_phase;
        event.receipt = save.receipt;
        event.error = save.error;
    });
}

void RunEvents::publish(PipelineEvent& event) {
    const std::lock_guard lock(mutex_);
    event.sequence = ++sequence_;
    event.time = clock_->now();
    try {
        publish_(event);
    } catch (...) {  // NOLINT(bugprone-empty-catch): whoever watches does not end the run
    }
}

}  // namespace cairn
