#pragma once

// Which run `cairn run` works on: a new one, one that goes on, or one that is over.

#include <cairn/pipeline.h>
#include <cairn/store.h>

#include <optional>
#include <string>

namespace cairn::cli {

/// What the command line says of it.
struct RunWish {
    std::string run_id;  ///< Empty: a new run, or with `resume` the newest of the pipeline that is not completed.
    std::optional<std::string> thread_id;
    std::optional<std::string> user_id;
    bool resume = false;
    bool start_if_missing = false;  ///< With `resume`: a run that is not there begins.
};

struct ChosenRun {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::optional<PipelineRunStatus> before;  ///< How it stands; nothing: no checkpoint is there.
};

/// Errors: kNotFound (nothing to resume under these owners), kInvalidArgument (a run that is not completed, without
///   `resume`, or another's), and those of the store. A null store has no runs.
[[nodiscard]] Result<ChosenRun> choose_run(Store* store, const std::string& pipeline, const RunWish& wish,
                                           const Runtime& runtime);

/// Who is at the keyboard.
std::string login_name();

/// How a run stands now, as `cairn runs` shows it.
std::optional<PipelineRunStatus> status_now(const RunInfo& run, const Runtime& runtime);

}  // namespace cairn::cli
