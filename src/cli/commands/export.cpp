#include "base/counted.h"
#include "base/default_deadline.h"
#include "cli/command.h"
#include "cli/history/snapshot_reference.h"
#include "cli/terminal/interruption.h"
#include "cli/terminal/output.h"
#include "cli/terminal/progress.h"
#include "cli/usage/options.h"
#include "files/output_file.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/snapshot_walk.h"
#include "transfer/transfer_line.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

struct ExportOptions {
    std::optional<std::string> run_id;
    Owner owner;
    std::string output = "-";

    bool to_standard_output() const { return output == "-"; }
};

struct ExportedRun {
    std::string run_id;
    Timestamp created_at = {};
    std::uint64_t snapshots = 0;
    std::string damage = {};
};

struct ExportCounts {
    std::uint64_t snapshots = 0;
    std::uint64_t damaged = 0;
    std::uint64_t too_large = 0;  // for this reader's limit
};

// The run that was created first comes first.
Result<std::vector<ExportedRun>> list_runs(Store& store, const Owner& owner) {
    std::vector<ExportedRun> runs;
    RunQuery query{
        .thread_id = owner.thread_id, .user_id = owner.user_id, .order = RunQuery::Order::kById, .limit = 500};
    do {
        auto page = store.runs(query, default_deadline());
        if (!page) return std::unexpected(page.error());
        for (RunInfo& run : page->items) {
            runs.push_back({std::move(run.run_id), run.created_at, run.snapshots, std::move(run.damage)});
        }
        query.cursor = std::move(page->next_cursor);
    } while (!query.cursor.empty());
    std::ranges::sort(runs, {}, [](const ExportedRun& run) { return std::tie(run.created_at, run.run_id); });
    return runs;
}

Result<std::vector<ExportedRun>> choose_runs(Store& store, const ExportOptions& options) {
    if (options.run_id) {
        if (Status found = require_run(store, *options.run_id, options.owner); !found) {
            return std::unexpected(found.error());
        }
        return std::vector<ExportedRun>{{.run_id = *options.run_id}};
    }
    auto runs = list_runs(store, options.owner);
    const bool has_owner = options.owner.thread_id || options.owner.user_id;
    if (runs && runs->empty() && has_owner) return fail(ErrorCode::kNotFound, "there are no runs of this owner");
    return runs;
}

class Exporter {
public:
    Exporter(const Cli& cli, Store& store, OutputFile& file, Progress& progress)
        : cli_(cli), store_(store), file_(file), progress_(progress) {}

    Status export_run(const ExportedRun& run) {
        const std::string& run_id = run.run_id;
        const std::uint64_t exported = counts_.snapshots;
        Status done = visit_snapshots(store_, run_id, [&](const SnapshotInfo& info) { return export_snapshot(info); });
        if (done && !run.damage.empty()) tell_damage(run, exported);
        if (done || !is_damage(done.error())) return done;
        leave_out({.run_id = run_id}, done.error());  // skips the rest of the run
        return {};
    }
    Status end() { return write(to_transfer_line(TransferEnd{.snapshots = counts_.snapshots})); }
    const ExportCounts& counts() const { return counts_; }

private:
    Status export_snapshot(const SnapshotInfo& info) {
        progress_.advance();
        if (Interruption::requested()) return fail(ErrorCode::kUnavailable, "the export was interrupted");
        const auto loaded = load_snapshot(store_, {.run_id = info.run_id, .snapshot_id = info.snapshot_id},
                                          cli_.config().state_limits(), default_deadline());
        if (!loaded && loaded.error().code == ErrorCode::kNotFound) return {};  // deleted meanwhile
        if (!loaded && is_unreadable(loaded.error())) {
            leave_out(info, loaded.error());
            return {};
        }
        if (!loaded) return std::unexpected(loaded.error());
        ++counts_.snapshots;
        return write(to_transfer_line(*loaded));
    }

    // Reports damage of the run's record or lease, which are not exported. If the damage hides the run's snapshots,
    // they are left out.
    void tell_damage(const ExportedRun& run, std::uint64_t exported_before) {
        if (counts_.snapshots == exported_before) {
            leave_out({.run_id = run.run_id}, {.code = ErrorCode::kCorrupt, .message = run.damage});
        } else {
            tell(LogLevel::kWarning, "export_damage", run.damage, {.run_id = run.run_id});
        }
    }

    // Records a snapshot that is left out; everything readable is still exported.
    void leave_out(const SnapshotInfo& info, const Error& error) {
        const bool is_too_large = error.code == ErrorCode::kLimitExceeded;
        ++(is_too_large ? counts_.too_large : counts_.damaged);
        tell(LogLevel::kError, is_too_large ? "export_limit" : "export_damage", error.message, info);
    }

    void tell(LogLevel level, std::string event, std::string message, const SnapshotInfo& info) const {
        cli_.runtime.log({.level = level,
                          .event = std::move(event),
                          .message = std::move(message),
                          .fields = {{"run_id", info.run_id}, {"snapshot_id", info.snapshot_id}}});
    }

    Status write(std::string line) { return file_.write(line += '\n'); }

    const Cli& cli_;
    Store& store_;
    OutputFile& file_;
    Progress& progress_;
    ExportCounts counts_;
};

Result<ExportCounts> write_runs(const Cli& cli, Store& store, const std::vector<ExportedRun>& runs, OutputFile file) {
    std::uint64_t total = 0;
    for (const ExportedRun& run : runs) total += run.snapshots;
    Progress progress("Exporting", isatty(STDOUT_FILENO) == 1 ? 0 : total);
    Exporter exporter(cli, store, file, progress);
    for (const ExportedRun& run : runs) {
        if (Status done = exporter.export_run(run); !done) return std::unexpected(done.error());
    }
    if (Status done = exporter.end(); !done) return std::unexpected(done.error());
    if (Status done = file.close(); !done) return std::unexpected(done.error());
    return exporter.counts();
}

/// Calls `write_runs`. If it is interrupted, the program ends here and removes what was written.
Result<ExportCounts> export_runs(const Cli& cli, Store& store, const std::vector<ExportedRun>& runs, OutputFile file) {
    std::optional<Interruption> interruption;  // without a draft there is nothing to remove
    if (file.is_draft()) interruption.emplace();
    auto counts = write_runs(cli, store, runs, std::move(file));
    Interruption::end_program();
    return counts;
}

void print_counts(const ExportCounts& counts, std::size_t runs, bool json) {
    json ? print_line(to_line({{"snapshots", counts.snapshots},
                               {"runs", runs},
                               {"damaged", counts.damaged},
                               {"too_large", counts.too_large}}))
         : print_line(fmt::format("exported {} of {}", counted(counts.snapshots, "snapshot"), counted(runs, "run")));
}

// The errors reported on the way, in one sentence.
Status left_out(const Cli& cli, const ExportCounts& counts) {
    if (counts.damaged != 0) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{} is damaged (places: {}): what is named above was left out, the rest is exported",
                                cli.store_label(), counts.damaged));
    }
    if (counts.too_large == 0) return {};
    return std::unexpected(advise(
        {.code = ErrorCode::kLimitExceeded,
         .message = fmt::format("{} larger than CAIRN_STATE_BYTES_MAX ({}) and left out, the rest is exported",
                                counts.too_large == 1 ? "1 state is" : fmt::format("{} states are", counts.too_large),
                                cli.config().state_bytes_max)},
        "Raise CAIRN_STATE_BYTES_MAX and export again."));
}

Status export_store(const Cli& cli, const ExportOptions& options) {
    if (Status usable = cli.check_output("--output", options.output); !usable) return usable;
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    const auto runs = choose_runs(**store, options);
    if (!runs) return std::unexpected(runs.error());
    auto file = OutputFile::open(options.output, cli.config().file_mode);
    if (!file) return std::unexpected(file.error());
    const auto counts = export_runs(cli, **store, *runs, *std::move(file));
    if (!counts) return std::unexpected(counts.error());
    if (!options.to_standard_output()) print_counts(*counts, runs->size(), cli.json);
    return left_out(cli, *counts);
}

}  // namespace

void add_export_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("export", "Write snapshots with their states as JSON Lines");
    const auto options = std::make_shared<ExportOptions>();
    command->add_option("--run", options->run_id, "Only this run")->type_name("RUN");
    command->add_option("--thread", options->owner.thread_id, "Only runs of this thread")->type_name("THREAD");
    command->add_option("--user", options->owner.user_id, "Only what this user owns")->type_name("USER");
    command->add_option("--output", options->output, "Write to this file; - for standard output (default)")
        ->type_name("FILE");
    command->callback([&cli, options] { cli.action = [&cli, options] { return export_store(cli, *options); }; });
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
