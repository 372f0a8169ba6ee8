#pragma once

// What watchers of a pipeline are told.

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

/// How a step ended.
enum class StepOutcome : std::uint8_t {
    kCompleted,
    kSkipped,  ///< Its condition did not hold.
    kFailed
};
std::string_view to_string(StepOutcome outcome) noexcept;  ///< "completed", "skipped", "failed"
std::optional<StepOutcome> parse_step_outcome(std::string_view text) noexcept;

struct PipelineEvent {
    enum class Type : std::uint8_t {
        kStarted,  ///< `message`: "resumed after STEP" if it goes on.
        kStepStarted,
        kStepProgress,
        kStepCompleted,
        kStepFailed,  ///< An attempt has failed; `will_retry` says whether there is another.
        kStepSkipped,
        kCheckpoint,  ///< A save ended: `receipt`, or `error`.
        kCompleted,   ///< The run ended, in whatever way: `status`.
    };
    Type type = Type::kStarted;
    std::string run_id = {};
    std::string thread_id = {};
    std::string user_id = {};
    std::string pipeline = {};
    std::uint64_t sequence = 0;  ///< 1 for the first event of an execution, then one more each: a gap is a drop.
    Timestamp time = {};
    std::string step = {};  ///< Of the step's events, and of a checkpoint: the step that was finished.
    int attempt = 0;        ///< Of the step's events.
    bool will_retry = false;
    std::chrono::microseconds duration{0};  ///< Of a step that ended, of the run when it ends.
    std::size_t steps_completed = 0;        ///< Skipped ones included.
    std::size_t steps_total = 0;
    std::optional<CheckpointType> checkpoint_type = {};
    std::optional<Receipt> receipt = {};  ///< Of a checkpoint.
    std::string status = {};              ///< Of the end: "completed", "failed", "interrupted".
    std::string message = {};             ///< Progress in the agent's words.
    std::optional<Error> error = {};
    std::uint64_t dropped = 0;  ///< So many events before this one were not delivered to this sink: it was too slow.
};
std::string_view to_string(PipelineEvent::Type type) noexcept;  ///< "started", "step_started", …

/// The event as one JSON object, without a line break: what files and sockets carry. Never holds content of a state.
std::string to_json(const PipelineEvent& event);

/// Is told of events, by a thread of its own, in order. It may be slow or throw: the pipeline does not wait for it.
/// What does not fit into its queue (1,024 events) is dropped and counted.
class EventSink {
public:
    virtual ~EventSink() = default;
    virtual void on_event(const PipelineEvent& event) = 0;
};

/// The documented name: sends each event, as JSON, to whoever watches the thread.
class WebSocketManager : public EventSink {
public:
    virtual void send_to_thread(const std::string& thread_id, const std::string& message) = 0;
    void on_event(const PipelineEvent& event) override { send_to_thread(event.thread_id, to_json(event)); }
};

/// Appends each event as a line to a file (JSON Lines). One that is not there is made, with `file_mode` whatever the
/// umask is. Errors: kReadOnly, kNotFound (no such folder), kInvalidArgument (no file, or another user's link or pipe).
[[nodiscard]] Result<std::shared_ptr<EventSink>> open_event_file(const std::filesystem::path& path,
                                                                 std::uint32_t file_mode = 0600);

}  // namespace cairn
