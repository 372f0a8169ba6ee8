#pragma once

// What of a pipeline's file can only be judged when all of it has been read.

#include "pipeline_file/yaml_document.h"

#include <cairn/pipeline.h>

#include <string>
#include <vector>

namespace cairn {

/// A step's condition about another one.
struct StepCondition {
    std::string step;
    std::string awaited;
    YamlMark mark;
};

/// Throws YamlProblem at the first condition about a step that is not there, or not in an earlier stage; a circle of
/// them is named.
void check_conditions(const Pipeline& pipeline, const std::vector<StepCondition>& conditions);

}  // namespace cairn
