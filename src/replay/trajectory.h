#pragma once

#include <cairn/error.h>
#include <cairn/persistence.h>
#include <cairn/state.h>
#include <cairn/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

/// One recorded checkpoint of a run: its whole state, and its description.
struct TrajectoryStep {
    State state;
    CheckpointType checkpoint_type;
    AgentPhase agent_phase;
};

/// A recorded run of an agent, expanded. Step 0 is its first state (phase "init", type auto).
struct TrajectoryRun {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::vector<TrajectoryStep> steps;
};

/// The save that the agent made after this step of `run`.
StatePersistenceRequest request_of(const TrajectoryRun& run, const TrajectoryStep& step);

struct ExpandOptions {
    std::string state_type = {};  ///< If set, the texts of the states become opaque states of this type.
    std::size_t runs_max = std::numeric_limits<std::size_t>::max();
    StateLimits state_limits = {};
    std::function<void(std::uint64_t)> on_bytes_read = nullptr;  ///< Called after each run, with the run's share.
};

/// Returns the trajectory files that `paths` name: files as they are, and for folders every *.jsonl below them, sorted.
/// Errors: kNotFound (no such path, or a folder without any).
[[nodiscard]] Result<std::vector<std::filesystem::path>> find_trajectory_files(const std::vector<std::string>& paths);

/// Expands one line of a trajectory file: the base state, then one JSON Patch (RFC 6902) per step. Numbers and lone
/// surrogate escapes stay as written; other escapes are printed in the shortest form. A `test` operation compares
/// numbers as written. `final_sha256` is not checked (expand.py, beside the public trajectories, does).
/// Errors: kInvalidState (names the step and the operation that failed), kLimitExceeded.
[[nodiscard]] Result<TrajectoryRun> expand_run(std::string_view line, const StateLimits& limits = {});

/// Reads and expands all runs of `files`, one per line. All their states are then in memory.
/// Errors: those of `expand_run` and `State::opaque`, with file and line named, and kNotFound, kUnavailable (a file
/// that cannot be read).
[[nodiscard]] Result<std::vector<TrajectoryRun>> expand_trajectories(const std::vector<std::filesystem::path>& files,
                                                                     const ExpandOptions& options = {});

}  // namespace cairn
