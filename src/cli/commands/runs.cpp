#include "base/default_deadline.h"
#include "cli/command.h"
#include "cli/run/run_choice.h"
#include "cli/terminal/output.h"
#include "cli/usage/options.h"
#include "wire/record_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace cairn::cli {
namespace {

struct RunsOptions {
    std::optional<std::string> thread_id;
    std::optional<std::string> user_id;
    RowLimit limit;
    bool threads = false;
    bool context = false;
};

constexpr std::size_t kPipelineColumns = 32;

Table runs_table() {
    using enum Table::Align;
    return Table({{"RUN"},
                  {"THREAD"},
                  {"USER"},
                  {"VERSION", kRight},
                  {"SNAPSHOTS", kRight},
                  {"PHASE"},
                  {"UPDATED"},
                  {"PIPELINE"},
                  {"STATUS"},
                  {"STEP"},
                  {"AGE", kRight}});
}

Timestamp now(const Runtime& runtime) {
    return runtime.with_defaults().clock->now();
}

// "35 s", "12 min", "5 h", "3 d": the age of a run's last checkpoint.
std::string format_age(std::chrono::microseconds age) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(age).count();
    if (seconds < 120) return fmt::format("{} s", seconds);
    if (seconds < 120L * 60) return fmt::format("{} min", seconds / 60);
    return seconds < 48L * 3600 ? fmt::format("{} h", seconds / 3600) : fmt::format("{} d", seconds / 86'400);
}

// "paused at publish": a person has something to do.
std::string status_text(const PipelineRunStatus& status) {
    const std::string text(to_string(status.status));
    return status.waiting_for.empty() ? text : fmt::format("{} at {}", text, status.waiting_for);
}

void add_row(Table& table, const RunInfo& run, const Runtime& runtime) {
    std::vector<std::string> cells{run.run_id,
                                   run.thread_id,
                                   run.user_id,
                                   std::to_string(run.head_version),
                                   std::to_string(run.snapshots),
                                   run.agent_phase.name(),
                                   format_seconds(run.updated_at)};
    const auto status = status_now(run, runtime);
    cells.push_back(status ? shortened(status->pipeline, kPipelineColumns) : "");
    cells.emplace_back(!run.damage.empty() ? "damaged" : status ? status_text(*status) : "");
    cells.push_back(status ? fmt::format("{} of {}", status->steps_completed, status->steps_total) : "");
    cells.push_back(status ? format_age(checkpoint_age(run, now(runtime))) : "");
    table.add(std::move(cells));
}

std::string to_line_of(const RunInfo& run, const Runtime& runtime) {
    return to_json(run, now(runtime));
}

std::string to_line_of(const ThreadInfo& thread, const Runtime& /*runtime*/) {
    return to_json(thread);
}

Table threads_table() {
    using enum Table::Align;
    return Table({{"THREAD"}, {"USER"}, {"RUNS", kRight}, {"SNAPSHOTS", kRight}, {"UPDATED"}});
}

void add_row(Table& table, const ThreadInfo& thread, const Runtime& /*runtime*/) {
    table.add({thread.thread_id, thread.user_id, std::to_string(thread.runs), std::to_string(thread.snapshots),
               format_seconds(thread.updated_at)});
}

// Damage is reported below the table.
void warn_of_damage(const RunInfo& run) {
    if (!run.damage.empty())
        print_message(printable(fmt::format("warning: run \"{}\": {}", run.run_id, run.damage)) + "\n");
}

void warn_of_damage(const ThreadInfo& thread) {
    if (thread.damage.empty()) return;
    print_message(printable(fmt::format("warning: thread \"{}\" of user \"{}\": {}", thread.thread_id, thread.user_id,
                                        thread.damage)) +
                  "\n");
}

// `next_page(cursor, limit)` asks the store for runs or threads.
template <class NextPage>
Status print_pages(Table table, const RowLimit& limit, const Cli& cli, NextPage next_page) {
    const bool json = cli.json;
    JsonArray array;
    std::string cursor;
    for (std::uint64_t printed = 0; !limit.reached(printed);) {
        auto page = next_page(cursor, limit.next_page(printed));
        if (!page) return std::unexpected(page.error());
        for (const auto& item : page->items) {
            json ? array.add(to_line_of(item, cli.runtime)) : add_row(table, item, cli.runtime);
        }
        if (!json) table.print();
        if (!json) std::ranges::for_each(page->items, [](const auto& item) { warn_of_damage(item); });
        printed += page->items.size();
        cursor = std::move(page->next_cursor);
        if (cursor.empty()) break;
    }
    if (json) array.end();
    if (!json && !cursor.empty()) limit.mention_more();
    return {};
}

Status print_runs(Store& store, const RunsOptions& options, const Cli& cli) {
    return print_pages(runs_table(), options.limit, cli, [&](const std::string& cursor, std::size_t limit) {
        return store.runs(
            {.thread_id = options.thread_id, .user_id = options.user_id, .cursor = cursor, .limit = limit},
            default_deadline());
    });
}

Status print_threads(Store& store, const RunsOptions& options, const Cli& cli) {
    return print_pages(threads_table(), options.limit, cli, [&](const std::string& cursor, std::size_t limit) {
        return store.threads({.user_id = options.user_id, .cursor = cursor, .limit = limit}, default_deadline());
    });
}

void print_context_text(const ThreadContext& context, const Runtime& runtime) {
    Table facts({{"THREAD"}, {context.thread_id}});
    facts.add({"user", context.user_id});
    facts.add({"runs", std::to_string(context.runs.size())});
    facts.add({"snapshots", std::to_string(context.snapshots)});
    facts.add({"newest run", context.newest_run_id});
    facts.add({"newest snapshot", context.newest_snapshot_id});
    facts.add({"phase", context.agent_phase.name()});
    facts.add({"updated", format_seconds(context.updated_at)});
    facts.print();
    print("\n");
    Table runs = runs_table();
    for (const RunInfo& run : context.runs) add_row(runs, run, runtime);
    runs.print();
}

Status print_context(const Cli& cli, std::shared_ptr<Store> store, const RunsOptions& options) {
    const auto service = make_persistence(cli.config(), std::move(store), cli.runtime);
    const auto context = service->get_thread_context(options.thread_id.value_or(""), options.user_id);
    if (!context) return std::unexpected(context.error());
    cli.json ? print_line(to_json(*context, now(cli.runtime))) : print_context_text(*context, cli.runtime);
    return {};
}

Status runs(const Cli& cli, const RunsOptions& options) {
    if (options.context && !options.thread_id) return fail(ErrorCode::kInvalidArgument, "--context needs --thread");
    if (options.threads && options.thread_id) {
        return fail(ErrorCode::kInvalidArgument, "--threads lists all threads: leave --thread out, or --threads");
    }
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    if (options.context) return print_context(cli, *store, options);
    if (options.threads) return print_threads(**store, options, cli);
    return print_runs(**store, options, cli);
}

}  // namespace

void add_runs_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("runs", "List runs or threads, or what is known of a thread");
    const auto options = std::make_shared<RunsOptions>();
    command->add_option("--thread", options->thread_id, "Only runs of this thread")->type_name("THREAD");
    command->add_option("--user", options->user_id, "Only what this user owns")->type_name("USER");
    options->limit.add_option(*command, "rows");
    command->add_flag("--threads", options->threads, "List threads instead of runs");
    command->add_flag("--context", options->context, "With --thread: its runs, newest snapshot and phase");
    command->callback([&cli, options] { cli.action = [&cli, options] { return runs(cli, *options); }; });
    command->footer(
        "Runs are listed the newest created first, threads by their ids. Those of pipelines have a status (running,\n"
        "completed, failed, interrupted, paused at the step that needs approval, approved), how many of their steps\n"
        "are done, and the age of their last checkpoint. What is damaged is listed all the same, and told below.\n\n"
        "Examples:\n"
        "  cairn runs --user u1\n"
        "  cairn runs --threads --limit 0\n"
        "  cairn runs --thread t1 --context\n"
        "  cairn runs --json | jq -r '.[] | select(.status == \"interrupted\") | .run_id'");
}

}  // namespace cairn::cli
