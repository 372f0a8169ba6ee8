#pragma once

// What `cairn run --dry-run` tells.

#include "cli/run/run_choice.h"
#include "pipeline_file/pipeline_file.h"

namespace cairn::cli {

/// Prints stages, groups, agents and conditions, and where the run would begin.
void print_plan(const PipelineFile& file, const ChosenRun& run, bool json);

/// "/risk/level = \"high\" and scan completed"; empty for a condition that is.
std::string to_text(const Condition& condition);

}  // namespace cairn::cli
