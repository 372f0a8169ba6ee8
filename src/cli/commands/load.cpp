#include "base/counted.h"
#include "cli/command.h"
#include "cli/history/snapshot_reference.h"
#include "cli/terminal/output.h"
#include "cli/usage/options.h"
#include "files/output_file.h"

#include <fmt/format.h>

namespace cairn::cli {
namespace {

struct LoadOptions {
    std::string run_id;
    std::string snapshot;
    Owner owner;
    std::string output;
};

Result<LoadRequest> to_request(Store& store, const LoadOptions& options) {
    LoadRequest request{
        .run_id = options.run_id, .thread_id = options.owner.thread_id, .user_id = options.owner.user_id};
    if (options.snapshot.empty()) return request;
    auto id = find_snapshot_id(store, options.run_id, options.snapshot, options.owner);
    if (!id) return std::unexpected(id.error());
    request.snapshot_id = *std::move(id);
    return request;
}

Status needs_output(const State& state) {
    return std::unexpected(advise({.code = ErrorCode::kInvalidArgument,
                                   .message = fmt::format("the state is opaque (type \"{}\", {}), which is not printed",
                                                          state.type_tag(), counted(state.size_bytes(), "byte"))},
                                  "Give --output FILE: its bytes are written there."));
}

Status load(const Cli& cli, const LoadOptions& options) {
    if (Status usable = cli.check_output("--output", options.output); !usable) return usable;
    const auto store = cli.open_for_reading();
    if (!store) return std::unexpected(store.error());
    const auto request = to_request(**store, options);
    if (!request) return std::unexpected(request.error());
    const auto loaded = make_persistence(cli.config(), *store, cli.runtime)->load_agent_state(*request);
    if (!loaded) return std::unexpected(loaded.error());
    if (!options.output.empty()) {
        return write_file(options.output, loaded->state.text(), cli.config().file_mode);
    }
    if (loaded->state.is_opaque()) return needs_output(loaded->state);
    print_line(loaded->state.text());
    return {};
}

}  // namespace

void add_load_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("load", "Print a state, byte for byte as it was saved");
    const auto options = std::make_shared<LoadOptions>();
    add_run_option(*command, options->run_id);
    command->add_option("--snapshot", options->snapshot, "Its id or its version; the head if not given")
        ->type_name("SNAPSHOT");
    add_owner_options(*command, options->owner);
    command->add_option("--output", options->output, "Write to this file instead")->type_name("FILE");
    command->callback([&cli, options] { cli.action = [&cli, options] { return load(cli, *options); }; });
    command->footer(
        "Prints the state's normal text (its JSON without white space) and one newline; --output writes the text\n"
        "alone. A state is JSON, so --json changes errors only. The bytes of an opaque state are only written to a\n"
        "file.\n\n"
        "Examples:\n"
        "  cairn load --run r1 | jq .step\n"
        "  cairn load --run r1 --snapshot 3 --output state.json");
}

}  // namespace cairn::cli
