#include "pipeline_file/condition_order.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string_view>

namespace cairn {
namespace {

using StageOfStep = std::map<std::string_view, std::size_t>;
using Awaited = std::multimap<std::string_view, std::string_view>;  // by the step that waits

StageOfStep stages_of(const Pipeline& pipeline) {
    StageOfStep stages;
    for (std::size_t i = 0; i < pipeline.stages.size(); ++i) {
        for (const Step& step : pipeline.stages[i].steps) stages[step.name] = i;
    }
    return stages;
}

// The way from `from` to `to` along the awaited steps, both included; empty: there is none. Breadth first, so that a
// long chain costs no stack.
std::vector<std::string_view> way(const Awaited& awaited, std::string_view from, std::string_view to) {
    std::map<std::string_view, std::string_view> came_from{{from, {}}};
    std::vector<std::string_view> waiting{from};
    for (std::size_t next = 0; next < waiting.size() && !came_from.contains(to); ++next) {
        const auto [begin, end] = awaited.equal_range(waiting[next]);
        for (auto edge = begin; edge != end; ++edge) {
            if (came_from.emplace(edge->second, waiting[next]).second) waiting.push_back(edge->second);
        }
    }
    std::vector<std::string_view> steps;
    if (!came_from.contains(to)) return steps;
    for (std::string_view step = to; !step.empty(); step = came_from[step]) steps.push_back(step);
    std::ranges::reverse(steps);
    return steps;
}

}  // namespace

void check_conditions(const Pipeline& pipeline, const std::vector<StepCondition>& conditions) {
    const StageOfStep stages = stages_of(pipeline);
    Awaited awaited;
    for (const StepCondition& condition : conditions) awaited.emplace(condition.step, condition.awaited);
    for (const StepCondition& condition : conditions) {
        const auto refuse = [&](const std::string& problem) {
            throw YamlProblem(condition.mark, fmt::format("step \"{}\": {}", condition.step, problem));
        };
        const auto stage = stages.find(condition.awaited);
        if (stage == stages.end())
            refuse(fmt::format("it waits for \"{}\", and there is no such step", condition.awaited));
        if (stage->second < stages.at(condition.step)) continue;
        const auto circle = way(awaited, condition.awaited, condition.step);
        if (!circle.empty()) {
            refuse(fmt::format("a circle of conditions: {} -> {}", condition.step, fmt::join(circle, " -> ")));
        }
        refuse(fmt::format("it waits for \"{}\", which does not come before it", condition.awaited));
    }
}

}  // namespace cairn
