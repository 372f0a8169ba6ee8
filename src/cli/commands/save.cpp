#include "cli/command.h"
#include "cli/history/snapshot_reference.h"
#include "cli/terminal/output.h"
#include "cli/terminal/receipt.h"
#include "cli/usage/options.h"
#include "files/input_file.h"

#include <memory>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

struct SaveOptions {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::string checkpoint_type = "auto";
    std::string agent_phase;
    bool is_recovery_point = false;
    std::string snapshot_id;
    std::string expires_at;
    std::string context;
    std::vector<std::string> metadata;
    std::string parent;
    std::string on_conflict = "rebase";
    std::optional<std::int64_t> expected_version;
    std::string state_type;
    std::string file = "-";
};

// Puts the origin of the state in front of the state's error.
std::unexpected<Error> in(const std::string& place, Error error) {
    error.message = place + ": " + error.message;
    return std::unexpected(std::move(error));
}

Result<StatePersistenceRequest> to_request(const SaveOptions& options, const StateLimits& limits) {
    StatePersistenceRequest request{.run_id = options.run_id,
                                    .thread_id = options.thread_id,
                                    .user_id = options.user_id,
                                    .checkpoint_type = CheckpointType(options.checkpoint_type),
                                    .agent_phase = AgentPhase(options.agent_phase),
                                    .is_recovery_point = options.is_recovery_point,
                                    .snapshot_id = options.snapshot_id,
                                    .on_conflict = parse_on_conflict(options.on_conflict).value_or(OnConflict::kRebase),
                                    .expected_version = options.expected_version,
                                    .durability = Durability::kSync};  // nobody is there to flush later
    if (options.expected_version && request.on_conflict != OnConflict::kFail) {
        return fail(ErrorCode::kInvalidArgument, "--expected-version needs --on-conflict fail");
    }
    if (!options.expires_at.empty()) {
        const auto time = parse_timestamp(options.expires_at);
        if (!time) return in("--expires-at", time.error());
        request.expires_at = *time;
    }
    auto context = read_object_option("--context", options.context, limits);
    if (!context) return std::unexpected(context.error());
    request.execution_context = *std::move(context);
    auto metadata = read_metadata_option(options.metadata, limits);
    if (!metadata) return std::unexpected(metadata.error());
    request.metadata = *std::move(metadata);
    return request;
}

Result<State> read_state(const std::string& file, const std::string& state_type, const StateLimits& limits) {
    mention_keyboard(file);
    auto text = read_input(file, limits.bytes_max);
    if (!text) return std::unexpected(text.error());
    const bool is_opaque = !state_type.empty();
    auto state =
        is_opaque ? State::opaque(state_type, *std::move(text), limits) : State::parse(*std::move(text), limits);
    if (!state && state.error().code == ErrorCode::kInvalidArgument) return in("--state-type", state.error());
    if (!state) return in(file == "-" ? "standard input" : "file \"" + file + "\"", state.error());
    return state;
}

Status save_to(std::shared_ptr<Store> store, StatePersistenceRequest& request, const std::string& parent,
               const Cli& cli) {
    if (!parent.empty()) {
        auto id = find_snapshot_id(*store, request.run_id, parent, {request.thread_id, request.user_id});
        if (!id) return std::unexpected(id.error());
        request.parent_snapshot_id = *std::move(id);
    }
    const auto receipt = make_persistence(cli.config(), std::move(store), cli.runtime)->save_agent_state(request);
    if (!receipt) return std::unexpected(receipt.error());
    print_receipt(*receipt, cli.json);
    return {};
}

Status save(const Cli& cli, const SaveOptions& options) {
    const StateLimits limits = cli.config().state_limits();
    auto request = to_request(options, limits);
    if (!request) return std::unexpected(request.error());
    auto state = read_state(options.file, options.state_type, limits);
    if (!state) return std::unexpected(state.error());
    request->state_data = *std::move(state);

    auto store = options.parent.empty() ? cli.open_for_writing() : cli.open_existing_for_writing();
    if (!store) return std::unexpected(store.error());
    return save_to(*std::move(store), *request, options.parent, cli);
}

void add_options(CLI::App& command, SaveOptions& options) {
    add_run_option(command, options.run_id);
    command.add_option("--thread", options.thread_id, "The thread that the run belongs to")
        ->type_name("THREAD")
        ->required();
    command.add_option("--user", options.user_id, "The user who owns the run")->type_name("USER")->required();
    command
        .add_option("--type", options.checkpoint_type,
                    "auto (default), intermediate, pipeline_complete; any other is critical")
        ->type_name("TYPE");
    command.add_option("--phase", options.agent_phase, "Where the agent is: triage, reporting, …")->type_name("PHASE");
    command.add_flag("--recovery-point", options.is_recovery_point, "Makes the save critical");
    command.add_option("--snapshot-id", options.snapshot_id, "Your own id; saving it twice is harmless")
        ->type_name("ID");
    command.add_option("--expires-at", options.expires_at, "When retention may delete it, UTC")->type_name("TIME");
    command.add_option("--context", options.context, "A JSON object kept beside the state")->type_name("JSON");
    add_metadata_option(command, options.metadata);
    command
        .add_option("--parent", options.parent, "The snapshot it grows from, by id or version; the head if not given")
        ->type_name("SNAPSHOT");
    command
        .add_option("--on-conflict", options.on_conflict, "If another writer moved the head: rebase (default), fail")
        ->type_name("WHAT")
        ->check(CLI::IsMember({"rebase", "fail"}));
    add_number_option(command, "--expected-version", options.expected_version,
                      "With --on-conflict fail: the head's version that must still hold");
    command
        .add_option("--state-type", options.state_type,
                    "FILE is not JSON: save its bytes as an opaque state of this type (msgpack)")
        ->type_name("TYPE");
    command.add_option("FILE", options.file, "The state, a JSON object; - for standard input (default)");
}

}  // namespace

void add_save_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("save", "Save a state as the new head of a run");
    const auto options = std::make_shared<SaveOptions>();
    add_options(*command, *options);
    command->callback([&cli, options] { cli.action = [&cli, options] { return save(cli, *options); }; });
    command->footer(
        "The service is the one that ENABLE_OPTIMIZED_PERSISTENCE chooses; the optimised one skips a state that "
        "equals\n"
        "the head, and never a critical save (type manual, recovery, phase_transition or your own; recovery point).\n"
        "--json prints {\"snapshot_id\",\"outcome\",\"durability\",\"version\"}.\n\n"
        "Examples:\n"
        "  echo '{\"step\":1}' | cairn save --run r1 --thread t1 --user u1\n"
        "  cairn save --run r1 --thread t1 --user u1 --type manual --phase triage state.json\n"
        "  cairn save --run r1 --thread t1 --user u1 --parent 3 --metadata branch=b state.json\n"
        "  cairn save --run r1 --thread t1 --user u1 --state-type msgpack state.msgpack\n"
        "  cairn save --run r1 --thread t1 --user u1 --on-conflict fail --expected-version 3 --json state.json");
}

}  // namespace cairn::cli
