#include "pipeline/rules/pipeline_rules.h"

#include "persistence/save/request_rules.h"
#include "pipeline/messages.h"
#include "pipeline/rules/condition.h"
#include "state/opaque_text.h"

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {
namespace {

constexpr std::chrono::milliseconds kDurationMax = std::chrono::days(30);

std::unexpected<Error> invalid_pipeline_error(std::string message) {
    return fail(ErrorCode::kInvalidArgument, std::move(message));
}

std::string known_text(std::string_view what, const std::set<std::string, std::less<>>& names) {
    if (names.empty()) return fmt::format("no {} is known", what);
    const std::vector<std::string> listed(names.begin(), names.end());
    return fmt::format("known {}s are {}", what, quoted_list(listed));
}

Status check_duration(const Step& step, std::string_view field, std::chrono::milliseconds duration) {
    if (duration.count() >= 0 && duration <= kDurationMax) return {};
    return invalid_pipeline_error(fmt::format("step {}: {} is {} ms: give 0 to {} (30 days)", in_quotes(step.name),
                                              field, duration.count(), kDurationMax.count()));
}

Status check_retry(const Step& step) {
    const RetryPolicy& retry = step.retry;
    if (retry.attempts_max < 1) {
        return invalid_pipeline_error(
            fmt::format("step {}: attempts_max is {}: give at least 1", in_quotes(step.name), retry.attempts_max));
    }
    if (Status status = check_duration(step, "backoff", retry.backoff); !status) return status;
    if (Status status = check_duration(step, "backoff_max", retry.backoff_max); !status) return status;
    if (retry.backoff <= retry.backoff_max) return {};
    return invalid_pipeline_error(
        fmt::format("step {}: backoff is {} ms, more than backoff_max of {} ms: raise backoff_max",
                    in_quotes(step.name), retry.backoff.count(), retry.backoff_max.count()));
}

/// Adds the step's name to an error about a part of the step.
Status of_step(const Step& step, Status status) {
    if (!status) status.error().message = fmt::format("step {}: {}", in_quotes(step.name), status.error().message);
    return status;
}

// A person has no attempts and no timeout, and decides about one state.
Status check_approval(const Step& step, const Stage& stage) {
    const std::string name = in_quotes(step.name);
    if (stage.steps.size() > 1)
        return invalid_pipeline_error(fmt::format("step {} needs approval: give it a stage of its own", name));
    const RetryPolicy none;
    if (!step.agent.empty() || step.may_fail || step.timeout.count() != 0 ||
        step.retry.attempts_max != none.attempts_max) {
        return invalid_pipeline_error(
            fmt::format("step {} needs approval: leave out agent, may_fail, retry and timeout", name));
    }
    return {};
}

Status check_agent(const Step& step, const KnownNames& known) {
    if (step.agent.empty()) return invalid_pipeline_error(fmt::format("step {} names no agent", in_quotes(step.name)));
    if (!known.agents.contains(step.agent)) {
        return invalid_pipeline_error(fmt::format("step {} names the agent {}, which is not known: {}",
                                                  in_quotes(step.name), in_quotes(step.agent),
                                                  known_text("agent", known.agents)));
    }
    return {};
}

Status check_step(const Step& step, const Stage& stage, const KnownNames& known) {
    Status done = step.needs_approval ? check_approval(step, stage) : check_agent(step, known);
    if (!done) return done;
    if (Status status = of_step(step, check_name("phase", step.phase.name(), true)); !status) return status;
    if (Status status = of_step(step, check_is_json(step.with, "with")); !status) return status;
    if (Status status = check_retry(step); !status) return status;
    if (Status status = check_duration(step, "timeout", step.timeout); !status) return status;
    return of_step(step, check_condition(step.when));
}

Status check_stage(const Stage& stage, std::size_t number, const KnownNames& known) {
    if (stage.steps.empty())
        return invalid_pipeline_error(fmt::format("stage {} has no steps: give at least one", number));
    if (stage.on_conflict != MergePolicy::kMerger) {
        if (stage.merger.empty()) return {};
        return invalid_pipeline_error(
            fmt::format("stage {} (step {}) names the merger {}, but its on_conflict does not use one", number,
                        in_quotes(stage.steps[0].name), in_quotes(stage.merger)));
    }
    if (known.mergers.contains(stage.merger)) return {};
    return invalid_pipeline_error(fmt::format("stage {} (step {}) names the merger {}, which is not known: {}", number,
                                              in_quotes(stage.steps[0].name), in_quotes(stage.merger),
                                              known_text("merger", known.mergers)));
}

/// A step and its place in the pipeline.
struct PlacedStep {
    const Step* step = nullptr;
    std::size_t stage = 0;
};

/// The steps in their order, and by name.
struct StepTable {
    std::vector<PlacedStep> steps;
    std::map<std::string_view, std::size_t> by_name;

    std::optional<std::size_t> find(std::string_view name) const {
        const auto found = by_name.find(name);
        return found == by_name.end() ? std::nullopt : std::optional(found->second);
    }
};

Result<StepTable> table_of(const Pipeline& pipeline) {
    StepTable table;
    for (std::size_t stage = 0; stage < pipeline.stages.size(); ++stage) {
        for (const Step& step : pipeline.stages[stage].steps) {
            const std::size_t number = table.steps.size();
            if (Status status = check_id(fmt::format("the name of step {}", number + 1), step.name); !status) {
                return std::unexpected(std::move(status.error()));
            }
            if (!table.by_name.emplace(step.name, number).second) {
                return invalid_pipeline_error(fmt::format(
                    "step name {} is used twice: give each step of the pipeline its own", in_quotes(step.name)));
            }
            table.steps.push_back({&step, stage});
        }
    }
    return table;
}

Status check_awaited(const PlacedStep& placed, const StepTable& table) {
    for (const Condition::Step& awaited : placed.step->when.steps) {
        const auto found = table.find(awaited.name);
        if (!found) {
            return invalid_pipeline_error(
                fmt::format("step {} has a condition about step {}, which the pipeline does not have",
                            in_quotes(placed.step->name), in_quotes(awaited.name)));
        }
        if (table.steps[*found].stage >= placed.stage) {
            return invalid_pipeline_error(
                fmt::format("step {} has a condition about step {}, which does not come before it: move that "
                            "one to an earlier stage, or take the condition out",
                            in_quotes(placed.step->name), in_quotes(awaited.name)));
        }
    }
    return {};
}

}  // namespace

Status check_pipeline(const Pipeline& pipeline, const KnownNames& known) {
    if (Status status = check_id("the pipeline's name", pipeline.name); !status) return status;
    if (pipeline.stages.empty()) return invalid_pipeline_error("the pipeline has no stages: give at least one");
    const Result<StepTable> table = table_of(pipeline);
    if (!table) return std::unexpected(table.error());
    for (std::size_t i = 0; i < pipeline.stages.size(); ++i) {
        if (Status status = check_stage(pipeline.stages[i], i + 1, known); !status) return status;
    }
    for (const PlacedStep& placed : table->steps) {
        if (Status status = check_step(*placed.step, pipeline.stages[placed.stage], known); !status) return status;
    }
    for (const PlacedStep& placed : table->steps) {
        if (Status status = check_awaited(placed, *table); !status) return status;
    }
    return {};
}

}  // namespace cairn
