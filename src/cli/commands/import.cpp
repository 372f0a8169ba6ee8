#include "base/counted.h"
#include "cli/command.h"
#include "cli/terminal/output.h"
#include "cli/terminal/progress.h"
#include "files/line_reader.h"
#include "transfer/import_lines.h"
#include "transfer/importer.h"
#include "transfer/transfer_line.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <optional>

namespace cairn::cli {
namespace {

struct ImportArguments {
    std::string file = "-";
    bool verify = false;
};

Status read_lines(LineReader& lines, Importer& importer, const StateLimits& limits) {
    Progress progress("Importing", lines.file_bytes());
    const auto next = [&] {
        auto line = lines.next();
        if (line && *line) progress.advance((*line)->text.size() + 1);
        return line;
    };
    return import_lines({.name = lines.name(), .next = next}, importer, limits);
}

Result<std::uint64_t> verify(Store& store, const Importer& importer, const StateLimits& limits) {
    Progress progress("Verifying");
    return verify_runs(store, importer.runs(), limits, [&](std::uint64_t verified) { progress.show(verified, 0); });
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
    if (Status done = read_lines(*lines, importer, limits); !done) return done;
    std::optional<std::uint64_t> verified;
    if (arguments.verify) {
        const auto loaded = verify(**store, importer, limits);
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
