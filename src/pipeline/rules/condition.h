#pragma once

#include <cairn/pipeline.h>

#include <functional>
#include <map>
#include <string>

namespace cairn {

/// How the steps of the earlier stages ended, by name.
using StepOutcomes = std::map<std::string, StepOutcome, std::less<>>;

/// Whether all that the condition asks for is so. A member that is not there equals nothing, is in nothing, and is
/// different from every value. A step that is not among `outcomes` has no outcome. The condition was checked.
[[nodiscard]] bool holds(const Condition& condition, const State& state, const StepOutcomes& outcomes);

/// Errors: kInvalidArgument naming the pointer and what is accepted: it is no JSON Pointer, a value is no normal text
///   of a JSON value, or there are too few or too many of them.
[[nodiscard]] Status check_condition(const Condition& condition);

}  // namespace cairn
