#include "base/counted.h"
#include "base/default_deadline.h"
#include "cli/command.h"
#include "cli/terminal/output.h"
#include "cli/terminal/progress.h"
#include "files/line_reader.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/snapshot_walk.h"
#include "transfer/importer.h"
#include "transfer/transfer_line.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

namespace cairn::cli {
namespace {

struct ImportArguments {
    std::string file = "-";
    bool verify = false;
};

/// Gives the lines of an export to an importer.
class Transfer {
public:
    Transfer(LineReader& lines, Importer& importer, const StateLimits& limits)
        : lines_(lines), importer_(importer), limits_(limits) {}

    // Lines before an error are imported all the same.
    Status run() {
        const Status read = read_lines();
        const Status flushed = importer_.flush();
        return flushed ? read : flushed;
    }

private:
    Status read_lines() {
        Progress progress("Importing", lines_.file_bytes());
        while (true) {
            auto next = lines_.next();
            if (!next) return std::unexpected(std::move(next.error()));
            std::optional<LineReader::Line>& line = *next;
            if (!line) return is_complete_ ? Status{} : cut_off();
            progress.advance(line->text.size() + 1);
            if (Status taken = take(*line); !taken) return taken;
            ++line_;
        }
    }

    Status take(LineReader::Line& line) {
        auto parsed = parse_transfer_line(std::move(line.text), limits_);
        if (!line.is_whole && !(parsed && std::holds_alternative<TransferEnd>(*parsed))) return cut_off();
        if (!parsed) return in_this_line(std::move(parsed.error()));
        if (const auto* end = std::get_if<TransferEnd>(&*parsed)) return finish(*end);
        is_complete_ = false;
        ++snapshots_;
        return importer_.add(std::get<LoadedState>(*std::move(parsed)), line_ + 1);
    }

    // Several exports may follow one another in one file.
    Status finish(const TransferEnd& end) {
        const std::uint64_t found = std::exchange(snapshots_, 0);
        is_complete_ = true;
        if (found == end.snapshots) return {};
        return in_this_line({.code = ErrorCode::kInvalidArgument,
                             .message = fmt::format("{} snapshots should stand before it, but {} do: lines are missing "
                                                    "or repeated",
                                                    end.snapshots, found)});
    }

    std::unexpected<Error> in_this_line(Error error) const {
        error.message = fmt::format("{} line {}: {}", lines_.name(), line_ + 1, error.message);
        return std::unexpected(std::move(error));
    }

    std::unexpected<Error> cut_off() const {
        return fail(
            ErrorCode::kInvalidArgument,
            fmt::format("{} is cut off after line {}; what stands before is imported: import the whole of it to go on",
                        lines_.name(), line_));
    }

    LineReader& lines_;
    Importer& importer_;
    const StateLimits limits_;
    std::uint64_t line_ = 0;  // number of lines processed
    std::uint64_t snapshots_ = 0;
    bool is_complete_ = false;
};

// Loads every snapshot of the imported runs; loading compares each with its checksum.
Result<std::uint64_t> verify(Store& store, const std::set<std::string>& runs, const StateLimits& limits) {
    Progress progress("Verifying");
    std::uint64_t verified = 0;
    const auto load = [&](const SnapshotInfo& info) -> Status {
        const auto loaded =
            load_snapshot(store, {.run_id = info.run_id, .snapshot_id = info.snapshot_id}, limits, default_deadline());
        if (!loaded && loaded.error().code != ErrorCode::kNotFound) return std::unexpected(loaded.error());
        progress.show(++verified, 0);
        return {};
    };
    for (const std::string& run_id : runs) {
        if (Status visited = visit_snapshots(store, run_id, load); !visited) return std::unexpected(visited.error());
    }
    return verified;
}

void print_counts(const Importer& importer, std::optional<std::uint64_t> verified, bool json) {
    if (json) {
        return print_line(to_line({{"imported", importer.imported()},
                                   {"skipped", importer.skipped()},
                                   {"runs", importer.runs().size()},
                                   {"verified", verified ? Json(*verified) : Json()}}));
    }
    std::string text = fmt::format("imported {} of {}", counted(importer.imported(), "snapshot"),
                                   counted(importer.runs().size(), "run"));
    if (importer.skipped() > 0) text += fmt::format(", {} were there already", importer.skipped());
    if (verified) text += fmt::format("; verified {}", *verified);
    print_line(text);
}

Status import_store(const Cli& cli, const ImportArguments& arguments) {
    const StateLimits limits = cli.config().state_limits();
    auto lines = LineReader::open(arguments.file, transfer_line_bytes_max(limits));
    if (!lines) return std::unexpected(lines.error());
    const auto store = cli.open_for_writing();
    if (!store) return std::unexpected(store.error());
    Importer importer(**store, {.compression = cli.config().enable_compression,
                                .chain_limits = cli.config().chain_limits,
                                .state_limits = limits,
                                .timeout = cli.config().timeout});
    if (Status done = Transfer(*lines, importer, limits).run(); !done) return done;
    std::optional<std::uint64_t> verified;
    if (arguments.verify) {
        const auto loaded = verify(**store, importer.runs(), limits);
        if (!loaded) return std::unexpected(loaded.error());
        verified = *loaded;
    }
    print_counts(importer, verified, cli.json);
    return {};
}

}  // namespace

void add_import_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("import", "Read what `cairn export` wrote into the store");
    const auto arguments = std::make_shared<ImportArguments>();
    command->add_option("FILE", arguments->file, "The export; - for standard input (default)");
    command->add_flag("--verify", arguments->verify, "Load everything back afterwards");
    command->callback([&cli, arguments] { cli.action = [&cli, arguments] { return import_store(cli, *arguments); }; });
    command->footer(
        "Ids, versions, parents, times and metadata stay as they were, and each state is held against its checksum.\n"
        "What is there already is skipped: an import that was interrupted, or whose file was cut off, is simply made\n"
        "again. OPTIMIZED_PERSISTENCE_COMPRESSION says whether states are stored compressed and as what changed.\n\n"
        "Examples:\n"
        "  cairn import backup.jsonl\n"
        "  gunzip < r1.jsonl.gz | cairn import --store sqlite:new.db --verify\n"
        "  cairn export --store sqlite:old.db | cairn import --store sqlite:new.db --json");
}

}  // namespace cairn::cli
