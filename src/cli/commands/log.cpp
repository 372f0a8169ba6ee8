#include "base/default_deadline.h"
#include "cli/command.h"
#include "cli/history/history_listing.h"
#include "cli/history/snapshot_reference.h"
#include "cli/terminal/output.h"
#include "cli/usage/options.h"
#include "wire/record_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

struct LogOptions {
    std::string run_id;
    Owner owner;
    RowLimit limit;
    std::optional<std::string> checkpoint_type;
    std::optional<std::string> agent_phase;
    bool recovery_points = false;
    std::string since;
    std::string until;
    std::optional<std::int64_t> before;
    std::vector<std::string> metadata;
    bool graph = false;
    bool recoveries = false;

    bool has_filter() const {
        return checkpoint_type || agent_phase || recovery_points || !since.empty() || !until.empty() ||
               !metadata.empty();
    }
};

Status read_time(const char* option, const std::string& text, std::optional<Timestamp>& time) {
    if (text.empty()) return {};
    const auto read = parse_timestamp(text);
    if (!read) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", option, read.error().message));
    time = *read;
    return {};
}

Status read_metadata(const std::vector<std::string>& members, HistoryQuery& query) {
    for (const std::string& member : members) {
        auto read = read_member(member);
        if (!read) return std::unexpected(read.error());
        query.metadata.push_back(*std::move(read));
    }
    return {};
}

Result<HistoryQuery> to_query(const LogOptions& options) {
    HistoryQuery query{.run_id = options.run_id,
                       .thread_id = options.owner.thread_id,
                       .user_id = options.owner.user_id,
                       .after_version = options.before};
    if (options.checkpoint_type) query.checkpoint_type = CheckpointType(*options.checkpoint_type);
    if (options.agent_phase) query.agent_phase = AgentPhase(*options.agent_phase);
    if (options.recovery_points) query.is_recovery_point = true;
    if (const auto read = read_time("--since", options.since, query.created_from); !read) {
        return std::unexpected(read.error());
    }
    if (const auto read = read_time("--until", options.until, query.created_until); !read) {
        return std::unexpected(read.error());
    }
    if (const auto read = read_metadata(options.metadata, query); !read) return std::unexpected(read.error());
    return query;
}

Status print_recoveries(Store& store, const std::string& run_id, const RowLimit& limit, bool json) {
    const auto records = store.recovery_log(run_id, limit.or_all(), default_deadline());
    if (!records) return std::unexpected(records.error());
    Table table({{"STARTED"}, {"TYPE"}, {"RESULT"}, {"FROM"}, {"HEAD"}, {"REASON"}, {"DETAIL"}});
    JsonArray array;
    for (const RecoveryRecord& record : *records) {
        if (json) {
            array.add(to_json(record));
        } else {
            table.add({format_seconds(record.started_at), std::string(to_string(record.recovery_type)), record.result,
                       record.source_snapshot_id, record.result_snapshot_id, shortened(record.failure_reason, 40),
                       shortened(record.detail, 80)});
        }
    }
    json ? array.end() : table.print();
    for (const RecoveryRecord& record : *records) {
        if (json || record.damage.empty()) continue;
        print_message(printable("warning: a line of the recovery log: " + record.damage) + "\n");
    }
    return {};
}

Status check(const LogOptions& options, bool json) {
    if (!options.graph) return {};
    if (options.has_filter()) {
        return fail(ErrorCode::kInvalidArgument, "--graph shows whole histories: leave the filters out");
    }
    if (options.recoveries || json) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("--graph is for people to see snapshots: leave {} out",
                                                             json ? "--json" : "--recoveries"));
    }
    return {};
}

Status log(const Cli& cli, const LogOptions& options) {
    if (Status usable = check(options, cli.json); !usable) return usable;
    auto query = to_query(options);
    if (!query) return std::unexpected(query.error());
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    if (const auto found = require_run(**store, options.run_id, options.owner); !found) return found;
    if (options.recoveries) return print_recoveries(**store, options.run_id, options.limit, cli.json);
    const auto style = cli.json ? HistoryStyle::kJson : options.graph ? HistoryStyle::kGraph : HistoryStyle::kRows;
    return print_history(**store, *std::move(query), options.limit, style);
}

void add_options(CLI::App& command, LogOptions& options) {
    add_run_option(command, options.run_id);
    add_owner_options(command, options.owner);
    options.limit.add_option(command, "rows");
    command.add_option("--type", options.checkpoint_type, "Only this checkpoint type")->type_name("TYPE");
    command.add_option("--phase", options.agent_phase, "Only this agent phase")->type_name("PHASE");
    command.add_flag("--recovery-points", options.recovery_points, "Only recovery points");
    command.add_option("--since", options.since, "Only made at this time (UTC) or later")->type_name("TIME");
    command.add_option("--until", options.until, "Only made before this time (UTC)")->type_name("TIME");
    command
        .add_option("--metadata", options.metadata,
                    "Only with this in the metadata; repeatable. VALUE is JSON, or else a string")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    command.add_flag("--graph", options.graph, "Draw which snapshot grew from which");
    add_number_option(command, "--before", options.before, "Only versions before N: the next page");
    command.add_flag("--recoveries", options.recoveries, "The run's recoveries instead of its snapshots");
}

}  // namespace

void add_log_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("log", "List the snapshots of a run, newest first");
    const auto options = std::make_shared<LogOptions>();
    add_options(*command, *options);
    command->callback([&cli, options] { cli.action = [&cli, options] { return log(cli, *options); }; });
    command->footer(
        "Examples:\n"
        "  cairn log --run r1\n"
        "  cairn log --run r1 --type manual --since 2026-11-23 --limit 0\n"
        "  cairn log --run r1 --graph\n"
        "  cairn log --run r1 --metadata branch=b --metadata attempt=3\n"
        "  cairn log --run r1 --json | jq -r '.[].snapshot_id'\n"
        "  cairn log --run r1 --recoveries");
}

}  // namespace cairn::cli
