#include "cli/command.h"
#include "cli/output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cairn::cli {
namespace {

// How many times larger than the stored frames the states are; 0 of an empty store.
double ratio_of(const StoreStats& stats) {
    if (stats.payload_bytes == 0) return 0;
    return static_cast<double>(stats.state_bytes) / static_cast<double>(stats.payload_bytes);
}

std::string to_json(const Cli& cli, const StoreStats& stats) {
    const Config& config = cli.config();
    return to_line({{"store", cli.store_label()},
                    {"threads", stats.threads},
                    {"runs", stats.runs},
                    {"snapshots", stats.snapshots},
                    {"state_bytes", stats.state_bytes},
                    {"payload_bytes", stats.payload_bytes},
                    {"store_bytes", stats.store_bytes},
                    {"ratio", ratio_of(stats)},
                    {"optimized_persistence", config.enable_optimized_persistence},
                    {"deduplication", config.enable_deduplication},
                    {"compression", config.enable_compression}});
}

void print_text(const Cli& cli, const StoreStats& stats) {
    const Config& config = cli.config();
    const auto on_or_off = [](bool flag) { return std::string(flag ? "on" : "off"); };
    Table table({{"STORE"}, {cli.store_label()}});
    table.add({"threads", std::to_string(stats.threads)});
    table.add({"runs", std::to_string(stats.runs)});
    table.add({"snapshots", std::to_string(stats.snapshots)});
    table.add({"states", format_bytes(stats.state_bytes)});
    table.add({"stored frames", format_bytes(stats.payload_bytes)});
    table.add({"on disk", format_bytes(stats.store_bytes)});
    table.add({"states to frames", stats.payload_bytes == 0 ? "-" : fmt::format("{:.1f}", ratio_of(stats))});
    table.add({"optimised service", on_or_off(config.enable_optimized_persistence)});
    table.add({"deduplication", on_or_off(config.enable_deduplication)});
    table.add({"compression", on_or_off(config.enable_compression)});
    table.print();
}

Status stats(const Cli& cli) {
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    const auto counted = (*store)->stats();
    if (!counted) return std::unexpected(counted.error());
    cli.json ? print_line(to_json(cli, *counted)) : print_text(cli, *counted);
    return {};
}

}  // namespace

void add_stats_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("stats", "Count what the store holds and what it takes");
    command->callback([&cli] { cli.action = [&cli] { return stats(cli); }; });
    command->footer(
        "Examples:\n"
        "  cairn stats\n"
        "  cairn stats --store sqlite:/var/lib/agents/cairn.db --json | jq .ratio");
}

}  // namespace cairn::cli
