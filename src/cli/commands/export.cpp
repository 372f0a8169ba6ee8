#include "base/counted.h"
#include "base/default_deadline.h"
#include "cli/command.h"
#include "cli/history/snapshot_reference.h"
#include "cli/terminal/interruption.h"
#include "cli/terminal/output.h"
#include "cli/terminal/progress.h"
#include "cli/usage/options.h"
#include "files/output_file.h"
#include "transfer/exporter.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

struct ExportArguments {
    std::optional<std::string> run_id;
    Owner owner;
    std::string output = "-";

    bool to_standard_output() const { return output == "-"; }
};

Result<std::vector<ExportedRun>> choose_runs(Store& store, const ExportArguments& arguments) {
    const Owner& owner = arguments.owner;
    if (!arguments.run_id) return list_runs_to_export(store, owner.thread_id, owner.user_id);
    if (Status found = require_run(store, *arguments.run_id, owner); !found) return std::unexpected(found.error());
    const auto page = store.runs({.run_id = arguments.run_id}, default_deadline());
    if (!page) return std::unexpected(page.error());
    std::vector<ExportedRun> runs;
    for (const RunInfo& run : page->items) runs.push_back({.run_id = run.run_id, .snapshots = run.snapshots});
    return runs;
}

// No bar where the lines themselves go to the terminal.
bool hides_progress(const ExportArguments& arguments) {
    return arguments.to_standard_output() && isatty(STDOUT_FILENO) == 1;
}

Result<ExportReport> write_runs(const Cli& cli, Store& store, const std::vector<ExportedRun>& runs, OutputFile file,
                                const ExportArguments& arguments) {
    std::uint64_t total = 0;
    for (const ExportedRun& run : runs) total += run.snapshots;
    Progress progress("Exporting", hides_progress(arguments) ? 0 : total);
    auto report = export_runs(store, runs, [&](std::string line) { return file.write(line += '\n'); },
                              {.state_limits = cli.config().state_limits(),
                               .runtime = cli.runtime,
                               .on_snapshot = [&] { progress.advance(); },
                               .is_cancelled = Interruption::requested});
    if (!report) return report;
    if (Status done = file.close(); !done) return std::unexpected(done.error());
    return report;
}

/// Calls `write_runs`. If it is interrupted, the program ends here and removes what was written.
Result<ExportReport> write_whole(const Cli& cli, Store& store, const std::vector<ExportedRun>& runs, OutputFile file,
                                 const ExportArguments& arguments) {
    std::optional<Interruption> interruption;  // without a draft there is nothing to remove
    if (file.is_draft()) interruption.emplace();
    auto report = write_runs(cli, store, runs, std::move(file), arguments);
    Interruption::end_program();
    return report;
}

void print_report(const ExportReport& report, std::size_t runs, bool json) {
    json ? print_line(to_line({{"snapshots", report.snapshots},
                               {"runs", runs},
                               {"damaged", report.damaged},
                               {"too_large", report.too_large}}))
         : print_line(fmt::format("exported {} of {}", counted(report.snapshots, "snapshot"), counted(runs, "run")));
}

// Returns an error that sums up the places that were left out, if there were any. Each was named before.
Status check_complete(const Cli& cli, const ExportReport& report) {
    if (report.damaged != 0) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{} is damaged (places: {}): what is named above was left out, the rest is exported",
                                cli.store_label(), report.damaged));
    }
    if (report.too_large == 0) return {};
    return std::unexpected(advise(
        {.code = ErrorCode::kLimitExceeded,
         .message = fmt::format("{} larger than CAIRN_STATE_BYTES_MAX ({}) and left out, the rest is exported",
                                report.too_large == 1 ? "1 state is" : fmt::format("{} states are", report.too_large),
                                cli.config().state_bytes_max)},
        "Raise CAIRN_STATE_BYTES_MAX and export again."));
}

Status export_store(const Cli& cli, const ExportArguments& arguments) {
    if (Status usable = cli.check_output("--output", arguments.output); !usable) return usable;
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    const auto runs = choose_runs(**store, arguments);
    if (!runs) return std::unexpected(runs.error());
    auto file = OutputFile::open(arguments.output, cli.config().file_mode);
    if (!file) return std::unexpected(file.error());
    const auto report = write_whole(cli, **store, *runs, *std::move(file), arguments);
    if (!report) return std::unexpected(report.error());
    if (!arguments.to_standard_output()) print_report(*report, runs->size(), cli.json);
    return check_complete(cli, *report);
}

}  // namespace

void add_export_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("export", "Write snapshots with their states as JSON Lines");
    const auto arguments = std::make_shared<ExportArguments>();
    command->add_option("--run", arguments->run_id, "Only this run")->type_name("RUN");
    command->add_option("--thread", arguments->owner.thread_id, "Only runs of this thread")->type_name("THREAD");
    command->add_option("--user", arguments->owner.user_id, "Only what this user owns")->type_name("USER");
    command->add_option("--output", arguments->output, "Write to this file; - for standard output (default)")
        ->type_name("FILE");
    command->callback([&cli, arguments] { cli.action = [&cli, arguments] { return export_store(cli, *arguments); }; });
    command->footer(
        "A line a snapshot, each run's oldest first, then a last line {\"end\":true,\"snapshots\":N}; `cairn import` \n"
        "reads it into any store. What is damaged is named and left out, and the exit code says so. Recovery logs\n"
        "stay behind. A file that is there is replaced when all of the new one is on the disk, and not before.\n\n"
        "Examples:\n"
        "  cairn export --output backup.jsonl\n"
        "  cairn export --run r1 | gzip > r1.jsonl.gz\n"
        "  cairn export --user u1 | cairn import --store sqlite:u1.db");
}

}  // namespace cairn::cli
