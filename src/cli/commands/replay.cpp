#include "replay/replay.h"
#include "base/default_deadline.h"
#include "cli/command.h"
#include "cli/replay/replay_report.h"
#include "cli/terminal/interruption.h"
#include "cli/terminal/output.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/shown_task.h"
#include "replay/trajectory.h"

#include <fmt/format.h>
#include <fmt/std.h>

#include <stdlib.h>  // mkdtemp

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

constexpr std::string_view kSqliteScheme = "sqlite:";
constexpr std::size_t kErrorsShown = 5;
constexpr auto kExamples =
    "Examples:\n"
    "  cairn replay trajectories/ --verify\n"
    "  cairn replay swe_agent.jsonl --mode optimized --store sqlite:agents.db\n"
    "  cairn replay trajectories/ --concurrency 4 --json | jq .optimized.saves_per_s\n"
    "\n"
    "Expands recorded runs into whole states, then saves every step and reports what it took. `compare` (the default)\n"
    "replays into two fresh stores beside the configured one and removes them afterwards; `standard` and `optimized`\n"
    "replay into the configured store and leave the runs there.";

struct Arguments {
    std::vector<std::string> paths;
    std::string mode = "compare";
    std::string durability;
    std::string state_type;
    std::optional<std::size_t> limit_runs;
    ReplayOptions replay;
};

/// A folder for stores that are only measured; removed with the object.
class ScratchFolder {
public:
    /// Errors: kReadOnly (no folder can be made in `parent`).
    static Result<ScratchFolder> make_in(const std::filesystem::path& parent) {
        std::string pattern = (parent / "cairn-replay-XXXXXX").string();
        if (mkdtemp(pattern.data()) == nullptr) {
            return fail(ErrorCode::kReadOnly, fmt::format("no folder can be made in {}", parent), std::strerror(errno));
        }
        return ScratchFolder(pattern);
    }

    ScratchFolder(ScratchFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    ScratchFolder& operator=(ScratchFolder&&) = delete;
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    ~ScratchFolder() {
        std::error_code ignored;
        if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    }

    const std::filesystem::path& path() const { return path_; }

private:
    explicit ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {}

    std::filesystem::path path_;
};

std::uint64_t total_bytes(const std::vector<std::filesystem::path>& files) {
    std::uint64_t total = 0;
    for (const std::filesystem::path& file : files) {
        std::error_code error;
        const std::uintmax_t size = std::filesystem::file_size(file, error);
        if (!error) total += size;
    }
    return total;
}

Result<std::vector<TrajectoryRun>> expand(const Arguments& arguments, const Config& config) {
    const auto files = find_trajectory_files(arguments.paths);
    if (!files) return std::unexpected(files.error());
    Progress progress("Expanding", total_bytes(*files));
    ExpandOptions options{.state_type = arguments.state_type,
                          .state_limits = config.state_limits(),
                          .on_bytes_read = [&](std::uint64_t bytes) { progress.advance(bytes); }};
    if (arguments.limit_runs) options.runs_max = *arguments.limit_runs;
    return expand_trajectories(*files, options);
}

/// Replays through the service that `mode` names; the configuration's flag is ignored here.
Result<ReplayFigures> replay_into(const std::shared_ptr<Store>& store, std::string_view mode,
                                  const std::vector<TrajectoryRun>& runs, const Arguments& arguments, const Cli& cli) {
    Config config = cli.config();
    config.enable_optimized_persistence = mode == "optimized";
    config.durability = parse_durability(arguments.durability).value_or(config.durability);
    const std::unique_ptr<StatePersistence> service = make_persistence(config, store, cli.runtime);
    ReplayOptions options = arguments.replay;
    options.ignores_key_order = config.ignore_key_order;
    ShownTask task;
    Result<ReplayFigures> figures = replay(runs, *service, *store, options, task);
    if (figures) figures->mode = mode;
    return figures;
}

/// A store that already holds runs is fine, but part of the report is then not this replay's.
Status note_if_not_empty(Store& store) {
    const auto runs = store.runs({.limit = 1}, default_deadline());
    if (!runs) return std::unexpected(runs.error());
    if (!runs->items.empty()) {
        print_message("note: the store already holds runs; all figures but store_bytes are of this replay only\n");
    }
    return {};
}

Result<ReplayFigures> replay_configured(const std::vector<TrajectoryRun>& runs, const Arguments& arguments,
                                        const Cli& cli) {
    auto store = cli.open_for_writing();
    if (!store) return std::unexpected(store.error());
    if (const Status noted = note_if_not_empty(**store); !noted) return std::unexpected(noted.error());
    Result<ReplayFigures> figures = replay_into(*store, arguments.mode, runs, arguments, cli);
    if (figures) figures->store = cli.store_label();
    return figures;
}

/// The place of a fresh store for `mode`: the same kind as the configured store, and on its disk.
std::filesystem::path folder_of_store(std::string_view url) {
    if (!url.starts_with(kSqliteScheme)) return ".";
    const std::filesystem::path parent = std::filesystem::path(url.substr(kSqliteScheme.size())).parent_path();
    return parent.empty() ? "." : parent;
}

Result<ReplayFigures> replay_fresh(std::string_view mode, const std::vector<TrajectoryRun>& runs,
                                   const Arguments& arguments, const Cli& cli) {
    const std::string& configured = cli.config().store_url;
    const Result<ScratchFolder> scratch = ScratchFolder::make_in(folder_of_store(configured));
    if (!scratch) return std::unexpected(scratch.error());
    const std::string fresh = fmt::format("{}{}/{}.db", kSqliteScheme, scratch->path().string(), mode);
    const std::string url = configured.starts_with(kSqliteScheme) ? fresh : configured;
    auto store = open_store(url, {.file_mode = cli.config().file_mode, .runtime = cli.runtime});
    if (!store) return std::unexpected(store.error());
    Result<ReplayFigures> figures = replay_into(*store, mode, runs, arguments, cli);
    if (figures) figures->store = url;
    return figures;
}

Result<std::vector<ReplayFigures>> replay_all(const std::vector<TrajectoryRun>& runs, const Arguments& arguments,
                                              const Cli& cli) {
    std::vector<ReplayFigures> replays;
    if (arguments.mode != "compare") {
        Result<ReplayFigures> figures = replay_configured(runs, arguments, cli);
        if (!figures) return std::unexpected(figures.error());
        replays.push_back(*std::move(figures));
        return replays;
    }
    for (const std::string_view mode : {"standard", "optimized"}) {
        Result<ReplayFigures> figures = replay_fresh(mode, runs, arguments, cli);
        if (!figures) return std::unexpected(figures.error());
        replays.push_back(*std::move(figures));
    }
    return replays;
}

/// Calls `replay_all`. If it is interrupted, the program ends here, with all scratch folders removed.
Result<std::vector<ReplayFigures>> replay_uninterrupted(const std::vector<TrajectoryRun>& runs,
                                                        const Arguments& arguments, const Cli& cli) {
    const Interruption interruption;
    Result<std::vector<ReplayFigures>> replays = replay_all(runs, arguments, cli);
    Interruption::end_program();
    return replays;
}

void print_report(const std::vector<ReplayFigures>& replays, const Arguments& arguments, bool json) {
    if (!json) {
        print_replay_table(replays);
    } else if (arguments.mode == "compare") {
        print_line(replay_json(std::span(replays)));
    } else {
        print_line(replay_json(replays.front()));
    }
}

void print_first_errors(const ReplayFigures& figures) {
    const std::size_t shown = std::min(figures.errors.size(), kErrorsShown);
    for (const Error& error : std::span(figures.errors).first(shown)) {
        print_message(fmt::format("{}: {}\n", figures.mode, printable(error.to_string())));
    }
    if (shown < figures.errors.size()) print_message(fmt::format("… and {} more\n", figures.errors.size() - shown));
}

/// The report is on standard output; this decides the exit code.
Status verdict(const ReplayFigures& figures) {
    if (figures.failed > 0) {
        return fail(figures.errors.front().code,
                    fmt::format("{}: {} of {} saves failed", figures.mode, figures.failed, figures.saves));
    }
    if (figures.mismatches > 0) {
        return fail(ErrorCode::kCorrupt,
                    fmt::format("{}: {} snapshots did not load as they were saved", figures.mode, figures.mismatches));
    }
    return {};
}

Status run_replay(const Arguments& arguments, const Cli& cli) {
    const Result<std::vector<TrajectoryRun>> runs = expand(arguments, cli.config());
    if (!runs) return std::unexpected(runs.error());
    const Result<std::vector<ReplayFigures>> replays = replay_uninterrupted(*runs, arguments, cli);
    if (!replays) return std::unexpected(replays.error());
    print_report(*replays, arguments, cli.json);
    for (const ReplayFigures& figures : *replays) print_first_errors(figures);
    for (const ReplayFigures& figures : *replays) {
        if (Status good = verdict(figures); !good) return good;
    }
    return {};
}

}  // namespace

void add_replay_command(CLI::App& app, Cli& cli) {
    const auto arguments = std::make_shared<Arguments>();
    CLI::App* command = app.add_subcommand("replay", "Save recorded agent runs step by step and report what it took");
    command->footer(kExamples);
    command->add_option("PATH", arguments->paths, "Trajectory files, or folders of *.jsonl files")->required();
    command->add_option("--mode", arguments->mode, "The service to save through, or both in turn")
        ->check(CLI::IsMember({"standard", "optimized", "compare"}))
        ->capture_default_str();
    command->add_option("--concurrency", arguments->replay.concurrency, "Threads that replay runs side by side")
        ->check(CLI::Range(1U, 256U))
        ->capture_default_str();
    command
        ->add_option("--durability", arguments->durability,
                     "When a save of the optimised service is acknowledged: on disk, queued, or held to the end")
        ->check(CLI::IsMember({"sync", "async", "exit"}));
    command->add_flag("--verify", arguments->replay.verify, "Load every snapshot back and compare it byte for byte");
    command->add_option("--state-type", arguments->state_type, "Save the states' bytes as opaque states of this type")
        ->type_name("TYPE");
    command->add_option("--limit-runs", arguments->limit_runs, "Only the first N runs")->check(CLI::PositiveNumber);
    command->callback([arguments, &cli] { cli.action = [arguments, &cli] { return run_replay(*arguments, cli); }; });
}

}  // namespace cairn::cli
