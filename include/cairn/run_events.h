#pragma once

#include <cairn/persistence.h>
#include <cairn/pipeline_events.h>
#include <cairn/runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace cairn {

/// The events of one execution of a run: numbers them and publishes them. `PipelineExecutor` makes its events with it.
/// An engine of your own, which runs its agents by itself, makes the same ones: `kStarted`, a checkpoint for each save,
/// `kCompleted`. It holds a `RunLease` meanwhile, and gives it to each save.
///
/// Threads: safe to use concurrently. The order of the numbers is the order of publishing.
class RunEvents {
public:
    /// Called with one event at a time, by the thread that tells it. It must not wait, and must not tell events. An
    /// exception that it throws is ignored.
    using Publish = std::function<void(const PipelineEvent& event)>;

    /// `publish`: null if nobody watches; then nothing is done. `common`: the members that all events share.
    RunEvents(Publish publish, const Runtime& runtime, PipelineEvent common)
        : publish_(std::move(publish)), clock_(runtime.with_defaults().clock), common_(std::move(common)) {}
    RunEvents(const RunEvents&) = delete;
    RunEvents& operator=(const RunEvents&) = delete;
    ~RunEvents() = default;

    /// Sets a member of all further events.
    void set_steps_completed(std::size_t count) { steps_completed_ = count; }

    /// `fill(event)` sets the members of this event.
    template <class Fill>
    void tell(PipelineEvent::Type type, const Fill& fill) {
        if (!publish_) return;
        PipelineEvent event = common_;
        event.type = type;
        event.steps_completed = steps_completed_;
        fill(event);
        publish(event);
    }
    /// Tells of a save as a checkpoint. `step`: the step that was finished, if there is one.
    void tell_saved(const SaveEvent& save, std::string_view step = {});

private:
    void publish(PipelineEvent& event);

    const Publish publish_;
    const std::shared_ptr<Clock> clock_;
    const PipelineEvent common_;
    std::atomic<std::size_t> steps_completed_ = 0;
    std::mutex mutex_;
    std::uint64_t sequence_ = 0;  // guarded by mutex_
};

}  // namespace cairn
