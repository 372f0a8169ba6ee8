#pragma once

// The final output of `cairn run`.

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
    std::string unsaved_file = {};  ///< The file with the state that could not be saved; empty: none.
};

void print_outcome(const Cli& cli, const RunOutcome& outcome);

/// Puts the step's place in the file in front of an error about a step.
Error with_place(const PipelineFile& file, Error error);

/// The reason that the run did not complete, or is not saved, with the step's place in the file in front.
std::optional<Error> error_of(const RunOutcome& outcome);

}  // namespace cairn::cli
