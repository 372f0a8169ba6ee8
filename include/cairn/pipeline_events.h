#pragma once

// The events that a pipeline sends to its watchers. docs/reference.md#events lists them all, with their members.

#include <cairn/error.h>
#include <cairn/persistence.h>
#include <cairn/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

/// The outcome of a step.
enum class StepOutcome : std::uint8_t {
    kCompleted,
    kSkipped,  ///< Its condition did not hold.
    kFailed
};
std::string_view to_string(StepOutcome outcome) noexcept;  ///< "completed", "skipped", "failed"
std::optional<StepOutcome> parse_step_outcome(std::string_view text) noexcept;

struct PipelineEvent {
    enum class Type : std::uint8_t {
        kStarted,  ///< `message`: "resumed after STEP" if the run is resumed.
        kStepStarted,
        kStepProgress,
        kStepCompleted,
        kStepFailed,  ///< An attempt has failed; `will_retry` says whether there is another.
        kStepSkipped,
        kCheckpoint,  ///< A save ended (`SaveEvent`): `receipt`, or `error`.
        kCompleted,   ///< The run ended; `status` says how.
    };
    Type type = Type::kStarted;
    std::string run_id = {};
    std::string thread_id = {};
    std::string user_id = {};
    std::string pipeline = {};
    std::uint64_t sequence = 0;  ///< Counts an execution's events from 1: a gap is a drop.
    Timestamp time = {};
    std::string step = {};  ///< Set in step events. In a checkpoint: the step that was finished.
    int attempt = 0;        ///< Set in step events.
    bool will_retry = false;
    std::chrono::microseconds duration{0};  ///< Of a step that ended; of a checkpoint; of the run when it ends.
    std::size_t steps_completed = 0;        ///< Skipped ones included.
    std::size_t steps_total = 0;
    std::optional<CheckpointType> checkpoint_type = {};
    AgentPhase agent_phase = {};          ///< Phase of a checkpoint.
    std::optional<Receipt> receipt = {};  ///< Set in a checkpoint.
    std::string status = {};              ///< Set at the end: "completed", "failed", "interrupted".
    std::string message = {};             ///< Progress, in the agent's words.
    std::optional<Error> error = {};
    std::uint64_t dropped = 0;  ///< Events before this one that this sink did not get, because it was too slow.
};
std::string_view to_string(PipelineEvent::Type type) noexcept;  ///< "started", "step_started", …

/// The event as one JSON object, without a line break, for files and sockets. It never holds content of a state.
std::string to_json(const PipelineEvent& event);

/// Receives events in order, on a thread of its own. It may be slow or throw: the pipeline does not wait for it. Events
/// that do not fit into its queue (1,024 events) are dropped and counted.
class EventSink {
public:
    virtual ~EventSink() = default;
    virtual void on_event(const PipelineEvent& event) = 0;
};

/// Sends each event, as JSON, to the watchers of the thread. Its name is the documented one.
class WebSocketManager : public EventSink {
public:
    virtual void send_to_thread(const std::string& thread_id, const std::string& message) = 0;
    void on_event(const PipelineEvent& event) override { send_to_thread(event.thread_id, to_json(event)); }
};

/// Appends each event as a line to a file (JSON Lines). A missing file is made, with `file_mode` whatever the umask is.
/// Errors: kReadOnly, kNotFound (no such folder), kInvalidArgument (no file, or another user's link or pipe).
[[nodiscard]] Result<std::shared_ptr<EventSink>> open_event_file(const std::filesystem::path& path,
                                                                 std::uint32_t file_mode = 0600);

}  // namespace cairn
