#pragma once

// Chooses the run that `cairn run` works on: a new one, one to resume, or a completed one.

#include <cairn/pipeline.h>
#include <cairn/store.h>

#include <optional>
#include <string>

namespace cairn::cli {

/// The choice on the command line.
struct RunWish {
    std::string run_id;  ///< Empty: a new run, or with `resume` the pipeline's newest that is not completed.
    std::optional<std::string> thread_id;
    std::optional<std::string> user_id;
    bool resume = false;
    bool start_if_missing = false;  ///< With `resume`: a run that does not exist begins.
};

struct ChosenRun {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::optional<PipelineRunStatus> before;  ///< Its status; nothing: there is no checkpoint.
};

/// Errors: kNotFound (nothing to resume under these owners), kInvalidArgument (a run that is not completed, without
/// `resume`, or another owner's), and those of the store. A null store has no runs.
[[nodiscard]] Result<ChosenRun> choose_run(Store* store, const std::string& pipeline, const RunWish& wish,
                                           const Runtime& runtime);

/// The name of the user at the keyboard.
std::string login_name();

/// The current status of a run, as `cairn runs` shows it.
std::optional<PipelineRunStatus> status_now(const RunInfo& run, const Runtime& runtime);

}  // namespace cairn::cli
