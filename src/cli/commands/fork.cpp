#include "base/default_deadline.h"
#include "cli/command.h"
#include "cli/history/snapshot_reference.h"
#include "cli/run/pipeline_fork.h"
#include "cli/terminal/output.h"
#include "cli/terminal/receipt.h"
#include "cli/usage/options.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

struct ForkOptions {
    std::string run_id;
    std::string from;
    std::string to_run_id;
    std::optional<std::string> new_thread_id;
    std::optional<std::string> user_id;
    std::vector<std::string> metadata;
};

Result<LoadedState> load_source(StatePersistence& service, Store& store, const ForkOptions& options) {
    if (Status found = require_run(store, options.run_id, {.user_id = options.user_id}); !found) {
        return std::unexpected(std::move(found.error()));
    }
    auto id = find_snapshot_id(store, options.run_id, options.from);
    if (!id) return std::unexpected(id.error());
    return service.load_agent_state(
        {.run_id = options.run_id, .snapshot_id = *std::move(id), .user_id = options.user_id});
}

// Saves the source's state as the new head of its own run.
void grow_from(const SnapshotInfo& source, StatePersistenceRequest& request) {
    request.run_id = source.run_id;
    request.thread_id = source.thread_id;
    request.user_id = source.user_id;
    request.parent_snapshot_id = source.snapshot_id;
}

// Saves the source's state as the start of a new run, of the same user: a state never changes its owner.
void begin_run(const SnapshotInfo& source, const ForkOptions& options, StatePersistenceRequest& request) {
    request.run_id = options.to_run_id;
    request.thread_id = options.new_thread_id.value_or(source.thread_id);
    request.user_id = source.user_id;
    request.on_conflict = OnConflict::kFail;
    request.expected_version = 0;
    if (request.metadata) return;
    request.metadata = State::from_normal_text(
        to_line({{"forked_from_run", source.run_id}, {"forked_from_snapshot", source.snapshot_id}}));
}

Status require_no_run(Store& store, const std::string& run_id) {
    const auto head = store.head(run_id, default_deadline());
    if (!head) return std::unexpected(head.error());
    if (!*head) return {};
    return std::unexpected(advise(
        {.code = ErrorCode::kAlreadyExists, .message = fmt::format("--to-run: there is a run \"{}\" already", run_id)},
        "Give another --to-run, or leave it out to go on in the old run."));
}

Status fork_in(const std::shared_ptr<Store>& store, const ForkOptions& options, std::optional<State> metadata,
               const Cli& cli) {
    const auto service = make_persistence(cli.config(), store, cli.runtime);
    auto source = load_source(*service, *store, options);
    if (!source) return std::unexpected(source.error());
    if (!options.to_run_id.empty()) {
        if (Status absent = require_no_run(*store, options.to_run_id); !absent) return absent;
    }
    StatePersistenceRequest request{.state_data = std::move(source->state),
                                    .checkpoint_type = CheckpointType::kManual,
                                    .agent_phase = source->info.agent_phase,
                                    .metadata = std::move(metadata)};
    options.to_run_id.empty() ? grow_from(source->info, request) : begin_run(source->info, options, request);
    request.metadata = labels_of_fork(source->info, std::move(request.metadata));
    if (!options.to_run_id.empty()) {
        const auto copied = copy_group(*service, source->info, request);
        if (!copied) return std::unexpected(copied.error());
        if (*copied) {  // the copy has made the run already
            request.on_conflict = OnConflict::kRebase;
            request.expected_version.reset();
        }
    }
    const auto receipt = service->save_agent_state(request);
    if (!receipt) return std::unexpected(receipt.error());
    print_receipt(*receipt, cli.json);
    return {};
}

Status fork(const Cli& cli, const ForkOptions& options) {
    if (options.new_thread_id && options.to_run_id.empty()) {
        return fail(ErrorCode::kInvalidArgument, "--thread is the new run's: give --to-run, or leave it out");
    }
    auto metadata = read_metadata_option(options.metadata, cli.config().state_limits());
    if (!metadata) return std::unexpected(metadata.error());
    const auto store = cli.open_existing_for_writing();
    if (!store) return std::unexpected(store.error());
    return fork_in(*store, options, *std::move(metadata), cli);
}

void add_options(CLI::App& command, ForkOptions& options) {
    add_run_option(command, options.run_id);
    command.add_option("--from", options.from, "The snapshot to go on from, by id or version")
        ->type_name("SNAPSHOT")
        ->required();
    command.add_option("--to-run", options.to_run_id, "Begin this new run instead of growing the old one")
        ->type_name("RUN");
    command.add_option("--thread", options.new_thread_id, "With --to-run: its thread; the old run's if not given")
        ->type_name("THREAD");
    command.add_option("--user", options.user_id, "Only if this user owns the run; a new run belongs to the same")
        ->type_name("USER");
    add_metadata_option(command, options.metadata);
}

}  // namespace

void add_fork_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("fork", "Go on from an older snapshot, in its run or in a new one");
    const auto options = std::make_shared<ForkOptions>();
    add_options(*command, *options);
    command->callback([&cli, options] { cli.action = [&cli, options] { return fork(cli, *options); }; });
    command->footer(
        "The snapshot's state becomes the run's new head, of type manual, with the snapshot as its parent; what came\n"
        "after it stays. A new run records {\"forked_from_run\",\"forked_from_snapshot\"} as metadata unless given.\n"
        "--json prints {\"snapshot_id\",\"outcome\",\"durability\",\"version\"}.\n\n"
        "Examples:\n"
        "  cairn fork --run r1 --from 3\n"
        "  cairn fork --run r1 --from 3 --to-run r1-again\n"
        "  cairn fork --run r1 --from 3 --metadata branch=b --json");
}

}  // namespace cairn::cli
