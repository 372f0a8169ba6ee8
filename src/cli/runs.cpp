#include "cli/command.h"
#include "cli/json_shapes.h"
#include "cli/options.h"
#include "cli/output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

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

Table runs_table() {
    using enum Table::Align;
    return Table({{"RUN"}, {"THREAD"}, {"USER"}, {"VERSION", kRight}, {"SNAPSHOTS", kRight}, {"PHASE"}, {"UPDATED"}});
}

void add_row(Table& table, const RunInfo& run) {
    table.add({run.run_id, run.thread_id, run.user_id, std::to_string(run.head_version), std::to_string(run.snapshots),
               run.agent_phase.name(), format_seconds(run.updated_at)});
}

Table threads_table() {
    using enum Table::Align;
    return Table({{"THREAD"}, {"USER"}, {"RUNS", kRight}, {"SNAPSHOTS", kRight}, {"UPDATED"}});
}

void add_row(Table& table, const ThreadInfo& thread) {
    table.add({thread.thread_id, thread.user_id, std::to_string(thread.runs), std::to_string(thread.snapshots),
               format_seconds(thread.updated_at)});
}

// `next_page(cursor, limit)` asks the store for runs or threads.
template <class NextPage>
Status print_pages(Table table, const RowLimit& limit, bool json, NextPage next_page) {
    JsonArray array;
    std::string cursor;
    for (std::uint64_t printed = 0; !limit.reached(printed);) {
        auto page = next_page(cursor, limit.next_page(printed));
        if (!page) return std::unexpected(page.error());
        for (const auto& item : page->items) json ? array.add(to_json(item)) : add_row(table, item);
        if (!json) table.print();
        printed += page->items.size();
        cursor = std::move(page->next_cursor);
        if (cursor.empty()) break;
    }
    if (json) array.end();
    if (!json && !cursor.empty()) limit.mention_more();
    return {};
}

Status print_runs(Store& store, const RunsOptions& options, bool json) {
    return print_pages(runs_table(), options.limit, json, [&](const std::string& cursor, std::size_t limit) {
        return store.runs(
            {.thread_id = options.thread_id, .user_id = options.user_id, .cursor = cursor, .limit = limit});
    });
}

Status print_threads(Store& store, const RunsOptions& options, bool json) {
    return print_pages(threads_table(), options.limit, json, [&](const std::string& cursor, std::size_t limit) {
        return store.threads({.user_id = options.user_id, .cursor = cursor, .limit = limit});
    });
}

void print_context_json(const ThreadContext& context) {
    std::string runs;
    for (const RunInfo& run : context.runs) runs += (runs.empty() ? "" : ",") + to_json(run);
    const Json object{{"thread_id", context.thread_id},
                      {"user_id", context.user_id},
                      {"snapshots", context.snapshots},
                      {"newest_run_id", context.newest_run_id},
                      {"newest_snapshot_id", context.newest_snapshot_id},
                      {"agent_phase", context.agent_phase.name()},
                      {"updated_at", format_timestamp(context.updated_at)}};
    print_line(with_member(to_line(object), "runs", "[" + runs + "]"));
}

void print_context_text(const ThreadContext& context) {
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
    for (const RunInfo& run : context.runs) add_row(runs, run);
    runs.print();
}

Status print_context(const Cli& cli, std::shared_ptr<Store> store, const RunsOptions& options) {
    const auto service = make_persistence(cli.config(), std::move(store), cli.runtime);
    const auto context = service->get_thread_context(*options.thread_id, options.user_id);
    if (!context) return std::unexpected(context.error());
    cli.json ? print_context_json(*context) : print_context_text(*context);
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
    if (options.threads) return print_threads(**store, options, cli.json);
    return print_runs(**store, options, cli.json);
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
        "Runs are listed the newest created first, threads by their ids.\n\n"
        "Examples:\n"
        "  cairn runs --user u1\n"
        "  cairn runs --threads --limit 0\n"
        "  cairn runs --thread t1 --context\n"
        "  cairn runs --json | jq -r '.[].run_id'");
}

}  // namespace cairn::cli
