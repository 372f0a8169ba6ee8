#include "cli/retention/retention_run.h"

#include "cli/terminal/interruption.h"
#include "cli/terminal/output.h"
#include "cli/terminal/progress.h"
#include "wire/report_json.h"

#include <cstdio>
#include <string>

namespace cairn::cli {
namespace {

void print_text(const Cli& cli, const RetentionReport& report, bool dry_run) {
    Table table({{dry_run ? "WOULD DELETE FROM" : "DELETED FROM"}, {cli.store_label()}});
    table.add({"runs looked at", std::to_string(report.runs_examined)});
    table.add({"whole runs", std::to_string(report.runs_deleted)});
    table.add({"snapshots", std::to_string(report.snapshots_deleted)});
    table.add({"rewritten", std::to_string(report.snapshots_rewritten)});
    table.add({"frames deleted", format_bytes(report.frame_bytes_deleted)});
    table.add({"frames added", format_bytes(report.frame_bytes_added)});
    if (!dry_run) table.add({"disk space returned", format_bytes(report.store_bytes_returned)});
    table.print();
    if (report.was_cancelled) print_line("Stopped early: what is done stays done, and the same command goes on.");
    if (dry_run) print_line("Nothing was changed: the same command with --yes does it.");
}

// For a single run, the number of deleted snapshots shows the progress.
void show(Progress& progress, const RetentionProgress& state) {
    state.runs == 1 ? progress.show(state.snapshots_deleted, 0) : progress.show(state.runs_done, state.runs);
}

Result<RetentionReport> run_with_progress(const Cli& cli, Store& store, bool dry_run, const Deletion& deletion) {
    Progress progress(dry_run ? "Looking" : "Deleting");
    return deletion(store, {.dry_run = dry_run,
                            .state_limits = cli.config().state_limits(),
                            .chain_limits = cli.config().chain_limits,
                            .timeout = cli.config().timeout,
                            .runtime = cli.runtime,
                            .progress = [&](const RetentionProgress& state) { show(progress, state); },
                            .is_cancelled = Interruption::requested});
}

}  // namespace

Status run_deletion(const Cli& cli, bool confirmed, const Deletion& deletion) {
    const bool dry_run = !confirmed;
    const auto store = dry_run ? cli.open_for_reading() : cli.open_existing_for_writing();
    if (!store) return std::unexpected(store.error());
    const Interruption interruption;
    const auto report = run_with_progress(cli, **store, dry_run, deletion);
    if (!report) return std::unexpected(report.error());
    cli.json ? print_line(to_json(*report, dry_run)) : print_text(cli, *report, dry_run);
    if (!report->was_cancelled) return {};
    std::fflush(stdout);
    Interruption::end_program();
    return {};
}

void add_confirmation_option(CLI::App& command, bool& confirmed) {
    command.add_flag("--yes", confirmed, "Do it; without it you are told what would go, and nothing is changed");
}

}  // namespace cairn::cli
