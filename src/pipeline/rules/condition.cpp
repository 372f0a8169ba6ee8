#include "pipeline/rules/condition.h"

#include "pipeline/messages.h"
#include "state/json_pointer.h"
#include "state/json_value.h"
#include "state/state_equality.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <limits>

namespace cairn {
namespace {

using Test = Condition::Test;

bool is_one_of(std::string_view value, const std::vector<std::string>& values) {
    return std::ranges::any_of(values, [&](const std::string& other) { return json_equal(value, other); });
}

bool member_holds(const Condition::Member& member, const State& state) {
    const auto value = find(state, member.pointer);
    switch (member.test) {
        case Test::kExists:
            return value.has_value();
        case Test::kMissing:
            return !value.has_value();
        case Test::kNotEquals:
            return !value || !is_one_of(*value, member.values);
        case Test::kEquals:
        case Test::kIn:
            return value && is_one_of(*value, member.values);
    }
    return false;
}

/// The number of values that a test takes.
struct Arity {
    std::size_t min = 0;
    std::size_t max = 0;
    std::string_view text;
};

Arity arity_of(Test test) {
    switch (test) {
        case Test::kEquals:
        case Test::kNotEquals:
            return {1, 1, "exactly one value"};
        case Test::kIn:
            return {1, std::numeric_limits<std::size_t>::max(), "at least one value"};
        case Test::kExists:
        case Test::kMissing:
            break;
    }
    return {0, 0, "no value"};
}

Status check_value(const Condition::Member& member, const std::string& value) {
    const Result<std::string> normal = normal_json_value(value);
    if (normal && *normal == value) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the condition about {} compares with {}: give one JSON value without white space around "
                            "its tokens (a text stands in quotes)",
                            in_quotes(member.pointer), in_quotes(value)));
}

Status check_member(const Condition::Member& member) {
    if (!is_json_pointer(member.pointer)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("the condition about {} names no place: give a JSON Pointer such as \"/risk/level\" "
                                "(RFC 6901: ~0 stands for ~, ~1 for / in a key)",
                                in_quotes(member.pointer)));
    }
    const Arity arity = arity_of(member.test);
    if (member.values.size() < arity.min || member.values.size() > arity.max) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("the condition about {} has {} values: its test takes {}", in_quotes(member.pointer),
                                member.values.size(), arity.text));
    }
    for (const std::string& value : member.values) {
        if (Status status = check_value(member, value); !status) return status;
    }
    return {};
}

}  // namespace

bool holds(const Condition& condition, const State& state, const StepOutcomes& outcomes) {
    const auto step_holds = [&](const Condition::Step& step) {
        const auto outcome = outcomes.find(step.name);
        return outcome != outcomes.end() && outcome->second == step.outcome;
    };
    return std::ranges::all_of(condition.steps, step_holds) &&
           std::ranges::all_of(condition.members, [&](const auto& member) { return member_holds(member, state); });
}

Status check_condition(const Condition& condition) {
    for (const Condition::Member& member : condition.members) {
        if (Status status = check_member(member); !status) return status;
    }
    return {};
}

}  // namespace cairn
