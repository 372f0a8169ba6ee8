#include "cli/run/run_report.h"

#include "cli/terminal/output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace cairn::cli {
namespace {

std::string store_words(const Cli& cli) {
    return cli.store_option.empty() ? "" : " --store " + shell_word(cli.store_label());
}

Json error_json(const std::optional<Error>& error) {
    if (!error) return {};
    return {{"code", error_info(error->code).name}, {"message", error->message}};
}

void print_json(const RunOutcome& outcome) {
    const PipelineResult& result = outcome.result;
    Json steps = Json::array();
    for (const StepResult& step : result.steps) {
        steps.push_back({{"step", step.step},
                         {"outcome", to_string(step.outcome)},
                         {"attempt", step.attempt},
                         {"is_saved", step.is_saved},
                         {"duration_us", step.duration.count()},
                         {"error", error_json(step.error)}});
    }
    const Json unsaved = outcome.unsaved_file.empty() ? Json() : Json(outcome.unsaved_file);
    const Json waiting_for = result.waiting_for.empty() ? Json() : Json(result.waiting_for);
    print_line(to_line({{"run_id", outcome.run.run_id},
                        {"thread_id", outcome.run.thread_id},
                        {"user_id", outcome.run.user_id},
                        {"pipeline", outcome.file.pipeline.name},
                        {"status", to_string(result.status)},
                        {"waiting_for", waiting_for},
                        {"is_resumed", result.is_resumed},
                        {"is_saved", result.is_saved},
                        {"snapshot_id", result.snapshot_id},
                        {"saves", result.saves},
                        {"skips", result.skips},
                        {"bytes_stored", outcome.totals.bytes_stored},
                        {"duration_us", outcome.duration.count()},
                        {"unsaved_file", unsaved},
                        {"error", error_json(error_of(outcome))},
                        {"steps", std::move(steps)}}));
}

void add_row(Table& table, const StepResult& step) {
    const bool ran = step.attempt > 0;
    const bool is_earlier = !ran && step.outcome != StepOutcome::kSkipped;
    table.add({step.step, std::string(to_string(step.outcome)), ran ? std::to_string(step.attempt) : "",
               is_earlier ? "earlier" : (ran ? format_duration(step.duration) : ""), step.is_saved ? "yes" : "no"});
}

void print_steps(const RunOutcome& outcome) {
    using enum Table::Align;
    Table table({{"STEP"}, {"OUTCOME"}, {"ATTEMPT", kRight}, {"TIME", kRight}, {"SAVED"}});
    for (const Stage& stage : outcome.file.pipeline.stages) {
        for (const Step& step : stage.steps) {
            const auto found = std::ranges::find(outcome.result.steps, step.name, &StepResult::step);
            const std::string left = step.name == outcome.result.waiting_for ? "waits for approval" : "not finished";
            found == outcome.result.steps.end() ? table.add({step.name, left, "", "", ""}) : add_row(table, *found);
        }
    }
    table.print();
}

void print_next(const Cli& cli, const RunOutcome& outcome) {
    const std::string words = shell_word(outcome.run.run_id);
    const std::string store = store_words(cli);
    if (outcome.result.status == PipelineStatus::kPaused) {
        print_line(fmt::format("decide: cairn approve {} --step {}{}   (or --reject)", words,
                               shell_word(outcome.result.waiting_for), store));
    }
    if (outcome.result.is_rejected) {
        print_line(fmt::format("back:   cairn recover --run {} --type rollback --to SNAPSHOT{}   (to decide anew)",
                               words, store));
    } else if (outcome.result.status != PipelineStatus::kCompleted) {
        print_line(
            fmt::format("go on:  cairn run {} --run {} --resume{}", shell_word(outcome.file.path), words, store));
    }
    print_line(fmt::format("state:  cairn load --run {}{}", words, store));
    print_line(fmt::format("steps:  cairn log --run {}{}", words, store));
}

void print_text(const Cli& cli, const RunOutcome& outcome) {
    const PipelineResult& result = outcome.result;
    const bool was_completed = outcome.run.before && outcome.run.before->status == PipelineStatus::kCompleted;
    if (result.status == PipelineStatus::kPaused && result.steps.empty()) {
        print_line("This run still waits for approval: nothing was run.");
    } else if (was_completed && result.steps.empty()) {
        print_line("This run is completed already: nothing was run.");
    } else {
        print_steps(outcome);
    }
    print("\n");
    Table facts({{"RUN"}, {outcome.run.run_id}});
    facts.add({"status", std::string(to_string(result.status)) + (result.is_resumed ? " (resumed)" : "")});
    facts.add({"snapshot", result.snapshot_id});
    facts.add({"saves", fmt::format("{}, {} of them skipped", result.saves, result.skips)});
    facts.add({"stored", format_bytes(outcome.totals.bytes_stored)});
    facts.add({"time", format_duration(outcome.duration)});
    if (!outcome.unsaved_file.empty()) facts.add({"not saved", "the state is in " + outcome.unsaved_file});
    facts.print();
    print("\n");
    print_next(cli, outcome);
}

}  // namespace

void print_outcome(const Cli& cli, const RunOutcome& outcome) {
    cli.json ? print_json(outcome) : print_text(cli, outcome);
}

Error with_place(const PipelineFile& file, Error error) {
    for (const auto& [step, mark] : file.marks) {
        if (!error.message.starts_with(fmt::format("step \"{}\": ", step))) continue;
        error.message = fmt::format("{}: {}", file.place_of(step), error.message);
        break;
    }
    return error;
}

std::optional<Error> error_of(const RunOutcome& outcome) {
    const PipelineResult& result = outcome.result;
    if (!result.error) return result.is_saved ? std::nullopt : result.save_error;
    return with_place(outcome.file, *result.error);
}

}  // namespace cairn::cli
