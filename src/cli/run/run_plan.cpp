#include "cli/run/run_plan.h"

#include "cli/run/run_progress.h"
#include "cli/terminal/output.h"
#include "wire/record_json.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <optional>
#include <utility>

namespace cairn::cli {
namespace {

std::string member_text(const Condition::Member& member) {
    const std::string pointer = member.pointer.empty() ? "the state" : member.pointer;
    switch (member.test) {
        case Condition::Test::kExists:
            return pointer + " is there";
        case Condition::Test::kMissing:
            return pointer + " is not there";
        case Condition::Test::kEquals:
            return fmt::format("{} = {}", pointer, fmt::join(member.values, ""));
        case Condition::Test::kNotEquals:
            return fmt::format("{} != {}", pointer, fmt::join(member.values, ""));
        case Condition::Test::kIn:
            break;
    }
    return fmt::format("{} is one of {}", pointer, fmt::join(member.values, ", "));
}

std::string policy_of(const Stage& stage) {
    if (stage.on_conflict == MergePolicy::kMerger) return "merger " + stage.merger;
    return stage.on_conflict == MergePolicy::kLast ? "last" : "fail";
}

std::string retry_of(const Step& step) {
    if (step.retry.attempts_max == 1) return "";
    return fmt::format("{} attempts, {} apart", step.retry.attempts_max, format_duration(step.retry.backoff));
}

std::string timeout_of(const Step& step) {
    return step.timeout.count() == 0 ? "" : format_duration(step.timeout);
}

// "7" for a single step, "7 | fail" for the steps of a group, with its policy for a conflict.
std::string stage_label(std::size_t number, const Stage& stage) {
    if (stage.steps.size() == 1) return std::to_string(number);
    const std::string limit = stage.at_once_max == 0 ? "" : fmt::format(", {} at once", stage.at_once_max);
    return fmt::format("{} | {}{}", number, policy_of(stage), limit);
}

// Empty for a step that waits for a person.
std::vector<std::string> command_of(const PipelineFile& file, const Step& step) {
    return step.needs_approval ? std::vector<std::string>{} : file.agents.at(step.agent).command;
}

Json to_json(const PipelineFile& file, const Step& step) {
    return {{"step", step.name},
            {"agent", step.agent},
            {"command", command_of(file, step)},
            {"needs_approval", step.needs_approval},
            {"phase", step.phase.name()},
            {"when", to_text(step.when)},
            {"attempts", step.retry.attempts_max},
            {"timeout_ms", step.timeout.count()},
            {"may_fail", step.may_fail}};
}

Json stages_json(const PipelineFile& file) {
    Json stages = Json::array();
    for (const Stage& stage : file.pipeline.stages) {
        Json steps = Json::array();
        for (const Step& step : stage.steps) steps.push_back(to_json(file, step));
        stages.push_back({{"parallel", stage.steps.size() > 1},
                          {"on_conflict", policy_of(stage)},
                          {"at_once_max", stage.at_once_max},
                          {"steps", std::move(steps)}});
    }
    return stages;
}

void print_json(const PipelineFile& file, const ChosenRun& run) {
    const Json status = run.before ? Json(to_string(run.before->status)) : Json();
    const Json after = run.before && !run.before->step.empty() ? Json(run.before->step) : Json();
    print_line(to_line({{"dry_run", true},
                        {"pipeline", file.pipeline.name},
                        {"fingerprint", file.pipeline.fingerprint()},
                        {"run_id", run.run_id},
                        {"thread_id", run.thread_id},
                        {"user_id", run.user_id},
                        {"status", status},
                        {"steps_completed", run.before ? run.before->steps_completed : 0},
                        {"steps_total", file.pipeline.steps_total()},
                        {"resume_after", after},
                        {"stages", stages_json(file)}}));
}

std::string beginning_of(const ChosenRun& run) {
    if (!run.before) return "at its first step";
    if (run.before->status == PipelineStatus::kCompleted) return "nowhere: it is completed";
    if (run.before->status == PipelineStatus::kPaused) {
        return fmt::format("nowhere: it waits for approval of step \"{}\"", run.before->waiting_for);
    }
    if (run.before->step.empty()) return "at its first step, from the checkpoint that it has";
    return fmt::format("after step \"{}\" ({} of {} steps done)", run.before->step, run.before->steps_completed,
                       run.before->steps_total);
}

}  // namespace

std::string to_text(const Condition& condition) {
    std::vector<std::string> parts;
    parts.reserve(condition.members.size() + condition.steps.size());
    for (const auto& member : condition.members) parts.push_back(member_text(member));
    for (const auto& step : condition.steps) parts.push_back(fmt::format("{} {}", step.name, to_string(step.outcome)));
    return fmt::format("{}", fmt::join(parts, " and "));
}

void print_plan(const PipelineFile& file, const ChosenRun& run, bool json) {
    if (json) return print_json(file, run);
    Table table({{"STAGE"}, {"STEP"}, {"AGENT"}, {"PHASE"}, {"WHEN"}, {"RETRY"}, {"TIMEOUT"}, {"COMMAND"}});
    for (std::size_t i = 0; i < file.pipeline.stages.size(); ++i) {
        const Stage& stage = file.pipeline.stages[i];
        for (const Step& step : stage.steps) {
            const std::string command = fmt::format("{}", fmt::join(command_of(file, step), " "));
            const std::string agent = step.needs_approval ? "(approval)" : step.agent;
            table.add({stage_label(i + 1, stage), step.name, agent, step.phase.name(), to_text(step.when),
                       retry_of(step), timeout_of(step), shortened(command, 50)});
        }
    }
    table.print();
    print_line(printable(fmt::format("Pipeline \"{}\", run {}: it would begin {}. Nothing was run or written.",
                                     file.pipeline.name, run.run_id, beginning_of(run))));
}

}  // namespace cairn::cli
