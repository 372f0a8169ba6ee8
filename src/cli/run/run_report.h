#pragma once

// What `cairn run` tells at its end.

#include "cli/command.h"
#include "cli/run/run_choice.h"
#include "cli/run/run_progress.h"
#include "pipeline_file/pipeline_file.h"

#include <cairn/pipeline.h>

#include <string>

namespace cairn::cli {

struct RunOutcome {
    const PipelineFile& file;
    const ChosenRun& run;
    const PipelineResult& result;
    RunProgress::Totals totals;
    std::chrono::microseconds duration{0};
    std::string unsaved_file = {};  ///< Where the state went that could not be saved; empty: nowhere.
};

void print_outcome(const Cli& cli, const RunOutcome& outcome);

/// An error about a step, with the step's place in the file in front.
Error with_place(const PipelineFile& file, Error error);

/// Why the run did not complete, or is not saved, with the step's place in the file in front.
std::optional<Error> error_of(const RunOutcome& outcome);

}  // namespace cairn::cli
