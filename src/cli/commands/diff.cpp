#include "base/counted.h"
#include "base/default_deadline.h"
#include "cli/command.h"
#include "cli/history/snapshot_reference.h"
#include "cli/terminal/output.h"
#include "cli/usage/options.h"
#include "frame/byte_diff.h"
#include "state/json_diff.h"
#include "wire/json_line.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

namespace cairn::cli {
namespace {

struct DiffOptions {
    std::string run_id;
    std::vector<std::string> snapshots;
    Owner owner;
};

using SnapshotIds = std::array<std::optional<std::string>, 2>;  // empty: the head

Result<SnapshotIds> newest_two(Store& store, const DiffOptions& options) {
    const auto page = store.history(
        {.run_id = options.run_id, .thread_id = options.owner.thread_id, .user_id = options.owner.user_id, .limit = 2},
        default_deadline());
    if (!page) return std::unexpected(page.error());
    if (page->size() < 2) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("run \"{}\" has one snapshot only: there is none to compare it with", options.run_id));
    }
    return SnapshotIds{(*page)[1].snapshot_id, (*page)[0].snapshot_id};
}

// Chooses the two to compare: both as given, one against the head, or the head against the one before.
Result<SnapshotIds> choose(Store& store, const DiffOptions& options) {
    if (options.snapshots.empty()) return newest_two(store, options);
    SnapshotIds ids;
    for (std::size_t i = 0; i < options.snapshots.size(); ++i) {
        auto id = find_snapshot_id(store, options.run_id, options.snapshots[i], options.owner);
        if (!id) return std::unexpected(id.error());
        ids[i] = *std::move(id);
    }
    return ids;
}

Result<LoadedState> load(StatePersistence& service, const DiffOptions& options,
                         const std::optional<std::string>& snapshot_id) {
    return service.load_agent_state({.run_id = options.run_id,
                                     .snapshot_id = snapshot_id,
                                     .thread_id = options.owner.thread_id,
                                     .user_id = options.owner.user_id});
}

std::string describe(std::string_view value) {
    constexpr std::size_t kColumns = 40;
    std::string text = shortened(value, kColumns);
    if (text.size() < value.size()) text += fmt::format(" ({})", format_bytes(value.size()));
    return text;
}

std::string to_text(const JsonChange& change) {
    constexpr std::size_t kPathColumns = 200;
    const std::string path = change.path.empty() ? "(the whole state)" : shortened(change.path, kPathColumns);
    if (change.keys_only) return fmt::format("~ {}  only the order or the spelling of keys", path);
    switch (change.kind) {
        case JsonChange::Kind::kAdd:
            return fmt::format("+ {}  {}", path, describe(change.after));
        case JsonChange::Kind::kRemove:
            return fmt::format("- {}  {}", path, describe(change.before));
        case JsonChange::Kind::kReplace:
            break;
    }
    return fmt::format("~ {}  {} -> {}", path, describe(change.before), describe(change.after));
}

std::string name_of(const LoadedState& loaded) {
    const SnapshotInfo& info = loaded.info;
    const std::string type = loaded.state.is_opaque() ? fmt::format(", {}", loaded.state.type_tag()) : "";
    return fmt::format("version {} ({}, {}{})", info.version, info.snapshot_id, format_bytes(info.state_bytes), type);
}

bool is_of_bytes(const LoadedState& before, const LoadedState& after) {
    return before.state.is_opaque() || after.state.is_opaque();
}

std::string type_of(const State& state) {
    return state.is_opaque() ? std::string(state.type_tag()) : "JSON";
}

std::string to_text(const ByteChange& change) {
    const auto range = [](const ByteRange& of) {
        return fmt::format("{}..{} ({})", of.begin, of.end, format_bytes(of.end - of.begin));
    };
    if (change.before.is_empty()) return fmt::format("+ bytes {}", range(change.after));
    if (change.after.is_empty()) return fmt::format("- bytes {}", range(change.before));
    return fmt::format("~ bytes {} -> {}", range(change.before), range(change.after));
}

std::uint64_t print_byte_changes(const State& before, const State& after) {
    std::uint64_t changes = 0;
    if (before.type_tag() != after.type_tag()) {
        print_line(fmt::format("~ type {} -> {}", type_of(before), type_of(after)));
        ++changes;
    }
    for (const ByteChange& change : diff_bytes(before.text(), after.text())) {
        print_line(to_text(change));
        ++changes;
    }
    return changes;
}

std::uint64_t print_json_changes(const State& before, const State& after) {
    std::uint64_t changes = 0;
    diff_json(before.text(), after.text(), [&](const JsonChange& change) {
        print_line(printable(to_text(change)));
        ++changes;
    });
    return changes;
}

void print_text(const LoadedState& before, const LoadedState& after) {
    print_line(printable(fmt::format("from {}", name_of(before))));
    print_line(printable(fmt::format("to   {}", name_of(after))));
    const std::uint64_t changes = is_of_bytes(before, after) ? print_byte_changes(before.state, after.state)
                                                             : print_json_changes(before.state, after.state);
    print_line(changes == 0 ? "no change" : counted(changes, "change"));
}
void print_byte_patch(const State& before, const State& after) {
    JsonArray changes;
    if (before.type_tag() != after.type_tag()) {
        changes.add(to_line({{"op", "type"}, {"before", type_of(before)}, {"after", type_of(after)}}));
    }
    for (const ByteChange& change : diff_bytes(before.text(), after.text())) {
        changes.add(to_line({{"op", "bytes"},
                             {"before", {change.before.begin, change.before.end}},
                             {"after", {change.after.begin, change.after.end}}}));
    }
    changes.end();
}

void print_json(const LoadedState& before, const LoadedState& after) {
    if (is_of_bytes(before, after)) return print_byte_patch(before.state, after.state);
    JsonArray patch;
    diff_json(before.state.text(), after.state.text(),
              [&](const JsonChange& change) { patch.add(to_json_operation(change)); });
    patch.end();
}

Status diff(const Cli& cli, const DiffOptions& options) {
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    if (const auto found = require_run(**store, options.run_id, options.owner); !found) return found;
    const auto ids = choose(**store, options);
    if (!ids) return std::unexpected(ids.error());

    const auto service = make_persistence(cli.config(), *store, cli.runtime);
    const auto before = load(*service, options, (*ids)[0]);
    if (!before) return std::unexpected(before.error());
    const auto after = load(*service, options, (*ids)[1]);
    if (!after) return std::unexpected(after.error());
    cli.json ? print_json(*before, *after) : print_text(*before, *after);
    return {};
}

}  // namespace

void add_diff_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("diff", "Show what changed between two snapshots of a run");
    const auto options = std::make_shared<DiffOptions>();
    add_run_option(*command, options->run_id);
    add_owner_options(*command, options->owner);
    command
        ->add_option("SNAPSHOT", options->snapshots,
                     "Ids or versions: from A to B, from A to the head, or (none given) the newest change")
        ->expected(0, 2);
    command->callback([&cli, options] { cli.action = [&cli, options] { return diff(cli, *options); }; });
    command->footer(
        "Prints a line a changed place: + added, - removed, ~ changed; long values are cut. --json prints a JSON\n"
        "Patch (RFC 6902) that leads exactly from A to B. Numbers and strings are compared as they are written. Of\n"
        "opaque states the ranges of bytes that differ are printed.\n\n"
        "Examples:\n"
        "  cairn diff --run r1\n"
        "  cairn diff --run r1 1 3\n"
        "  cairn diff --run r1 --json 019336cf-6f53-7c1e-b2a4-0d5f3f1f8a11 3");
}

}  // namespace cairn::cli
