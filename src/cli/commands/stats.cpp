#include "base/counted.h"
#include "cli/command.h"
#include "cli/terminal/output.h"
#include "wire/report_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <string>

namespace cairn::cli {
namespace {

std::string to_json(const Cli& cli, const StoreStats& stats) {
    const Config& config = cli.config();
    Json object{{"store", cli.store_label()}};
    object.update(stats_object(stats));
    object.update({{"optimized_persistence", config.enable_optimized_persistence},
                   {"deduplication", config.enable_deduplication},
                   {"compression", config.enable_compression}});
    return to_line(object);
}

void print_text(const Cli& cli, const StoreStats& stats) {
    const Config& config = cli.config();
    const auto on_or_off = [](bool flag) { return std::string(flag ? "on" : "off"); };
    Table table({{"STORE"}, {cli.store_label()}});
    table.add({"threads", std::to_string(stats.threads)});
    table.add({"runs", std::to_string(stats.runs)});
    table.add({"snapshots", std::to_string(stats.snapshots)});
    table.add({"states", format_bytes(stats.state_bytes)});
    for (const auto& [type, count] : stats.opaque_states) {
        table.add({"  opaque, " + printable(type),
                   fmt::format("{} in {}", format_bytes(count.state_bytes), count.snapshots)});
    }
    table.add({"stored frames", format_bytes(stats.payload_bytes)});
    table.add({"on disk", format_bytes(stats.store_bytes)});
    table.add({"states to frames", stats.payload_bytes == 0 ? "-" : fmt::format("{:.1f}", compression_ratio(stats))});
    table.add({"optimised service", on_or_off(config.enable_optimized_persistence)});
    table.add({"deduplication", on_or_off(config.enable_deduplication)});
    table.add({"compression", on_or_off(config.enable_compression)});
    table.print();
}

std::string to_storage_json(const Cli& cli, const StoreStats& stats) {
    Json object{{"store", cli.store_label()}};
    object.update(storage_object(stats));
    return to_line(object);
}

void print_storage(const Cli& cli, const StoreStats& stats) {
    const StorageFigures storage(stats);
    const auto ratio = [](double value) { return value == 0 ? "-" : fmt::format("{:.1f}", value); };
    const auto frames = [](std::uint64_t count, std::uint64_t bytes) {
        return fmt::format("{} in {}", format_bytes(bytes), count);
    };
    Table table({{"STORE"}, {cli.store_label()}});
    table.add({"snapshots", std::to_string(stats.snapshots)});
    table.add({"states", format_bytes(stats.state_bytes)});
    table.add({"self-contained frames", frames(storage.full_frames, storage.full_bytes)});
    table.add({"delta frames", frames(stats.delta_frames, stats.delta_bytes)});
    table.add({"overhead", fmt::format("{} ({:.0f} B a snapshot)", format_bytes(storage.overhead_bytes),
                                       storage.overhead_per_snapshot)});
    table.add({"on disk", format_bytes(stats.store_bytes)});
    table.add({"states to frames", ratio(storage.state_to_payload)});
    table.add({"states to disk", ratio(storage.state_to_store)});
    table.add({"longest chain", counted(stats.chain_frames_max, "frame")});
    table.add({"forks", std::to_string(stats.forks)});
    table.print();
}

Status stats(const Cli& cli, bool storage) {
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    const auto counted = (*store)->stats(Deadline::max());
    if (!counted) return std::unexpected(counted.error());
    if (storage) {
        cli.json ? print_line(to_storage_json(cli, *counted)) : print_storage(cli, *counted);
    } else {
        cli.json ? print_line(to_json(cli, *counted)) : print_text(cli, *counted);
    }
    return {};
}

}  // namespace

void add_stats_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("stats", "Count what the store holds and what it takes");
    const auto storage = std::make_shared<bool>(false);
    command->add_flag("--storage", *storage, "Where the bytes go: frames, deltas, overhead, chains, forks");
    command->callback([&cli, storage] { cli.action = [&cli, storage] { return stats(cli, *storage); }; });
    command->footer(
        "Examples:\n"
        "  cairn stats\n"
        "  cairn stats --storage\n"
        "  cairn stats --store sqlite:/var/lib/agents/cairn.db --json | jq .ratio");
}

}  // namespace cairn::cli
