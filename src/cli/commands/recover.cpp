#include "cli/command.h"
#include "cli/history/snapshot_reference.h"
#include "cli/terminal/output.h"
#include "cli/usage/options.h"
#include "wire/record_json.h"
#include "wire/report_json.h"

#include <fmt/format.h>

#include <string>
#include <utility>

namespace cairn::cli {
namespace {

struct RecoverOptions {
    std::string run_id;
    Owner owner;
    std::string type;
    std::string target;
    std::string reason;
    bool print_state = false;
};

Result<StateRecoveryRequest> to_request(Store& store, const RecoverOptions& options) {
    StateRecoveryRequest request{.run_id = options.run_id,
                                 .recovery_type = *parse_recovery_type(options.type),
                                 .failure_reason = options.reason,
                                 .thread_id = options.owner.thread_id,
                                 .user_id = options.owner.user_id};
    if (options.target.empty()) return request;
    auto id = find_snapshot_id(store, options.run_id, options.target, options.owner);
    if (!id) return std::unexpected(id.error());
    request.target_snapshot_id = *std::move(id);
    return request;
}

std::string to_text(const RecoverOptions& options, const RecoveryResult& result) {
    std::string text;
    for (const auto& snapshot : result.damaged) {
        text += printable(
            fmt::format("damaged: version {} ({}): {}", snapshot.version, snapshot.snapshot_id, snapshot.problem));
        text += '\n';
    }
    const bool untouched = result.source_snapshot_id == result.snapshot_id;
    text += printable(fmt::format("recovered run \"{}\" from snapshot {}", options.run_id, result.source_snapshot_id));
    text += untouched ? fmt::format(": it is the intact head (version {}), nothing was written\n", result.version)
                      : fmt::format(": new head {} (version {})\n", result.snapshot_id, result.version);
    return text;
}

void print_json(const RecoverOptions& options, const StateRecoveryRequest& request, const RecoveryResult& result) {
    std::string object = to_json(request, result);
    print_line(options.print_state ? with_state(std::move(object), result.state) : object);
}

void print_text(const RecoverOptions& options, const RecoveryResult& result) {
    if (!options.print_state) return print(to_text(options, result));
    print_message(to_text(options, result));
    if (!result.state.is_opaque()) return print_line(result.state.text());
    print_message(fmt::format("the state is opaque (type \"{}\"): `cairn load --output FILE` writes its bytes\n",
                              result.state.type_tag()));
}

Status check(const RecoverOptions& options) {
    const bool is_rollback = options.type == "rollback";
    if (is_rollback == !options.target.empty()) return {};
    return fail(ErrorCode::kInvalidArgument, is_rollback
                                                 ? "--type rollback needs --to SNAPSHOT: an id, or a version "
                                                   "as `cairn log` lists them"
                                                 : "--to goes with --type rollback: leave it out, or roll back");
}

Status recover(const Cli& cli, const RecoverOptions& options) {
    if (Status usable = check(options); !usable) return usable;
    const auto store = cli.open_existing_for_writing();
    if (!store) return std::unexpected(store.error());
    const auto request = to_request(**store, options);
    if (!request) return std::unexpected(request.error());
    const auto result = make_persistence(cli.config(), *store, cli.runtime)->recover_agent_state(*request);
    if (!result) return std::unexpected(result.error());
    cli.json ? print_json(options, *request, *result) : print_text(options, *result);
    return {};
}

void add_options(CLI::App& command, RecoverOptions& options) {
    add_run_option(command, options.run_id);
    add_owner_options(command, options.owner);
    command
        .add_option("--type", options.type,
                    "resume: the newest intact snapshot; rollback: the one that --to names; restart: the first")
        ->type_name("TYPE")
        ->check(CLI::IsMember({"resume", "rollback", "restart"}))
        ->required();
    command.add_option("--to", options.target, "With rollback: the snapshot's id or version")->type_name("SNAPSHOT");
    command.add_option("--reason", options.reason, "The cause, for the recovery log")->type_name("TEXT");
    command.add_flag("--print-state", options.print_state, "Print the state; the rest goes to standard error");
}

}  // namespace

void add_recover_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("recover", "Resume, roll back or restart a run");
    const auto options = std::make_shared<RecoverOptions>();
    add_options(*command, *options);
    command->callback([&cli, options] { cli.action = [&cli, options] { return recover(cli, *options); }; });
    command->footer(
        "Nothing is deleted: the recovered state becomes a new head, and the recovery is logged\n"
        "(`cairn log --run R --recoveries`).\n\n"
        "Examples:\n"
        "  cairn recover --run r1 --type resume\n"
        "  cairn recover --run r1 --type rollback --to 3 --reason 'the tool returned rubbish'\n"
        "  cairn recover --run r1 --type restart --print-state | jq .");
}

}  // namespace cairn::cli
