#pragma once

// The output of `cairn run --dry-run`.

#include "cli/run/run_choice.h"
#include "pipeline_file/pipeline_file.h"

namespace cairn::cli {

/// Prints stages, groups, agents and conditions, and the point at which the run would begin.
void print_plan(const PipelineFile& file, const ChosenRun& run, bool json);

/// Returns "/risk/level = \"high\" and scan completed"; empty for an empty condition.
std::string to_text(const Condition& condition);

}  // namespace cairn::cli
