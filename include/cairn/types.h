#pragma once

#include <cairn/error.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

/// Wall-clock time of a record, UTC. It is for people and filters; order inside a run is by `version`, never by time.
using Timestamp = std::chrono::sys_time<std::chrono::microseconds>;

/// The time at which a blocking call gives up.
using Deadline = std::chrono::steady_clock::time_point;

/// "2026-11-23T16:07:47.123456Z". A time outside the years 0 to 9999 becomes the nearest one within.
std::string format_timestamp(Timestamp time);
/// Reads what `format_timestamp` prints; the fraction may have 0 to 6 digits and a bare date means midnight UTC.
Result<Timestamp> parse_timestamp(std::string_view text);

/// The reason for a snapshot. The documented names are constants; any other name is accepted and is critical.
class CheckpointType {
public:
    static const CheckpointType kManual, kRecovery, kPhaseTransition;     // critical
    static const CheckpointType kAuto, kIntermediate, kPipelineComplete;  // not critical

    CheckpointType() : name_("auto") {}
    explicit CheckpointType(std::string name) : name_(std::move(name)) {}

    const std::string& name() const noexcept { return name_; }
    bool is_critical() const noexcept;

    friend bool operator==(const CheckpointType&, const CheckpointType&) = default;

private:
    std::string name_;  ///< Part of the stored format.
};

/// The agent's place in its work. The documented names are constants; any other name is as good; "" is "not said".
class AgentPhase {
public:
    static const AgentPhase kInitialization, kTriage, kDataAnalysis, kOptimization, kActionPlanning, kReporting,
        kCompletion;

    AgentPhase() = default;
    explicit AgentPhase(std::string name) : name_(std::move(name)) {}

    const std::string& name() const noexcept { return name_; }

    friend bool operator==(const AgentPhase&, const AgentPhase&) = default;

private:
    std::string name_;  ///< Part of the stored format.
};

/// The effect of a save. A failed save returns an `Error` and is counted as `kFailed`.
enum class Outcome : std::uint8_t { kPersisted, kDeduplicated, kFallback, kQueued, kFailed };

/// The durability that a save has reached, not the one requested.
enum class Durability : std::uint8_t {
    kSync,   ///< The commit is on disk: survives process death and power loss.
    kAsync,  ///< Queued; the delay is bounded.
    kExit    ///< Held until the pipeline ends or `flush`.
};

/// The response of a save when another writer has moved the head since this writer last saw it.
enum class OnConflict : std::uint8_t {
    kRebase,  ///< Save on top of the new head.
    kFail     ///< Return kConflict; nothing is applied.
};

enum class RecoveryType : std::uint8_t {
    kRestart,  ///< The run's first state becomes a new critical head.
    kResume,   ///< The newest intact snapshot is returned.
    kRollback  ///< The target snapshot's state becomes a new critical head.
};

std::string_view to_string(Outcome outcome) noexcept;
std::string_view to_string(Durability durability) noexcept;
std::string_view to_string(OnConflict on_conflict) noexcept;
std::string_view to_string(RecoveryType type) noexcept;

/// The reverse of `to_string`; nothing for any other text.
std::optional<Durability> parse_durability(std::string_view text) noexcept;
std::optional<OnConflict> parse_on_conflict(std::string_view text) noexcept;
std::optional<RecoveryType> parse_recovery_type(std::string_view text) noexcept;

}  // namespace cairn
