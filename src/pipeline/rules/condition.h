#pragma once

#include <cairn/pipeline.h>

#include <functional>
#include <map>
#include <string>

namespace cairn {

/// The outcomes of the steps of earlier stages, by name.
using StepOutcomes = std::map<std::string, StepOutcome, std::less<>>;

/// Says whether the condition holds. A missing member equals nothing, is in nothing, and differs from every value. A
/// step that is not in `outcomes` has no outcome. The condition must have been checked.
[[nodiscard]] bool holds(const Condition& condition, const State& state, const StepOutcomes& outcomes);

/// Errors: kInvalidArgument naming the pointer and what is accepted: it is not a JSON Pointer, a value is not the
/// normal text of a JSON value, or there are too few or too many values.
[[nodiscard]] Status check_condition(const Condition& condition);

}  // namespace cairn
