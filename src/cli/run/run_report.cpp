#include "cli/run/run_report.h"

#include "cli/terminal/output.h"
#include "wire/record_json.h"
#include "wire/report_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace cairn::cli {
namespace {

std::string store_words(const Cli& cli) {
    return cli.store_option.empty() ? "" : " --store " + shell_word(cli.store_label());
}

// The error names the step's place in the file.
void print_json(const RunOutcome& outcome) {
    const std::optional<Error> error = error_of(outcome);
    Json object{{"run_id", outcome.run.run_id},
                {"thread_id", outcome.run.thread_id},
                {"user_id", outcome.run.user_id},
                {"pipeline", outcome.file.pipeline.name}};
    object.update(result_object(outcome.result));
    object["error"] = error ? error_object(*error) : Json();
    object["bytes_stored"] = outcome.totals.bytes_stored;
    object["duration_us"] = outcome.duration.count();
    object["unsaved_file"] = outcome.unsaved_file.empty() ? Json() : Json(outcome.unsaved_file);
    print_line(to_line(object));
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
