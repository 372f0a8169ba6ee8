#pragma once

// The progress of a run. Every checkpoint of a pipeline carries it in its snapshot's metadata.

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

/// The set of ended steps, in constant space and in any order. A changed pipeline is compared with it, and so with what
/// has really run. Two sets of steps have the same digest only if they are equal (but for one chance in 2^64).
class StepsDigest {
public:
    StepsDigest& add(std::string_view step);
    StepsDigest& remove(std::string_view step);

    std::string to_hex() const;
    /// Returns nothing if it is not a digest.
    static std::optional<StepsDigest> parse(std::string_view hex);

    friend bool operator==(const StepsDigest&, const StepsDigest&) = default;

private:
    std::uint64_t sum_ = 0;
};

/// A step that waits for a person, or one that a person has decided about while the run has not been resumed yet.
struct Approval {
    enum class Decision : std::uint8_t { kPending, kApproved, kRejected };
    std::string step = {};
    Decision decision = Decision::kPending;
    std::string by = {};  ///< The person who decided.

    bool is_decided() const { return decision != Decision::kPending; }
};
std::string_view to_string(Approval::Decision decision) noexcept;  ///< "pending", "approved", "rejected"

/// The reason that the run does not go on.
Error rejection_error(const Approval& approval);

struct RunProgress {
    std::string pipeline = {};
    PipelineStatus status = PipelineStatus::kRunning;
    std::string fingerprint = {};      ///< The executed pipeline's.
    std::int64_t epoch = 0;            ///< Epoch of the lease under which this was saved.
    std::size_t stages_completed = 0;  ///< Number of completed stages; the next one is the current stage.
    /// The steps of the completed stages. Nothing: an early version did not record them.
    std::optional<StepsDigest> ended = StepsDigest();
    std::size_t steps_completed = 0;  ///< The pipeline's completed steps, including those that ended otherwise.
    std::size_t steps_total = 0;
    std::string step = {};  ///< The last step of the last completed stage.
    AgentPhase phase = {};
    std::map<std::string, StepOutcome, std::less<>> exceptions = {};  ///< Steps that ended otherwise than completed.
    std::map<std::string, int, std::less<>> attempts = {};            ///< At the steps that made the run fail.
    std::string error = {};                                           ///< The reason that it failed.

    /// The current group: the snapshot that its steps started from, and those with the results of finished steps.
    std::string group_base = {};
    std::map<std::string, std::string, std::less<>> group_finished = {};

    std::optional<Approval> approval = {};  ///< The current stage's.

    State to_metadata() const;
    /// Returns nothing if no executor wrote it.
    static std::optional<RunProgress> parse(std::string_view metadata);
};

}  // namespace cairn
