#pragma once

// How far a run has come: what every checkpoint of a pipeline carries in its snapshot's metadata.

#include <cairn/error.h>
#include <cairn/pipeline.h>
#include <cairn/state.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

/// Which steps have ended, in constant space and any order: a pipeline that was changed is held against what has really
/// run. Two sets of steps have one digest only if they are the same (but for one chance in 2^64).
class StepsDigest {
public:
    StepsDigest& add(std::string_view step);
    StepsDigest& remove(std::string_view step);

    std::string to_hex() const;
    /// Nothing if it is none.
    static std::optional<StepsDigest> parse(std::string_view hex);

    friend bool operator==(const StepsDigest&, const StepsDigest&) = default;

private:
    std::uint64_t sum_ = 0;
};

/// A step that waits for a person, or one that a person has decided about while the run has not gone on yet.
struct Approval {
    enum class Decision : std::uint8_t { kPending, kApproved, kRejected };
    std::string step = {};
    Decision decision = Decision::kPending;
    std::string by = {};  ///< Who decided.

    bool is_decided() const { return decision != Decision::kPending; }
};
std::string_view to_string(Approval::Decision decision) noexcept;  ///< "pending", "approved", "rejected"

/// Why the run does not go on.
Error rejection_of(const Approval& approval);

struct RunProgress {
    std::string pipeline = {};
    PipelineStatus status = PipelineStatus::kRunning;
    std::string fingerprint = {};      ///< Of the pipeline that was executed.
    std::int64_t epoch = 0;            ///< Of the lease under which this was saved.
    std::size_t stages_completed = 0;  ///< Of the pipeline's stages; the next one is under way.
    /// The steps of the completed stages. Nothing: an early version did not note them.
    std::optional<StepsDigest> ended = StepsDigest();
    std::size_t steps_completed = 0;  ///< Of the pipeline's steps, with those that ended otherwise.
    std::size_t steps_total = 0;
    std::string step = {};  ///< The last one of the last completed stage.
    AgentPhase phase = {};
    std::map<std::string, StepOutcome, std::less<>> exceptions = {};  ///< Steps that ended otherwise than completed.
    std::map<std::string, int, std::less<>> attempts = {};            ///< Of the steps that made the run fail.
    std::string error = {};                                           ///< Why it failed.

    /// The group under way: the snapshot that its steps started from, and those with the results of steps that have
    /// finished.
    std::string group_base = {};
    std::map<std::string, std::string, std::less<>> group_finished = {};

    std::optional<Approval> approval = {};  ///< At the stage under way.

    State to_metadata() const;
    /// Nothing if no executor wrote it.
    static std::optional<RunProgress> parse(std::string_view metadata);
};

}  // namespace cairn
