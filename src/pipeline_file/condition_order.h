#pragma once

// Checks of a pipeline's file that need the whole file.

#include "pipeline_file/yaml_document.h"

#include <cairn/pipeline.h>

#include <string>
#include <vector>

namespace cairn {

/// A step's condition about another step.
struct StepCondition {
    std::string step;
    std::string awaited;
    YamlMark mark;
};

/// Throws YamlProblem at the first condition about a step that does not exist, or is not in an earlier stage; it names
/// a circle of conditions.
void check_conditions(const Pipeline& pipeline, const std::vector<StepCondition>& conditions);

}  // namespace cairn
