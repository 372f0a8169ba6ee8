#include "cli/command.h"
#include "cli/retention/retention_run.h"

#include <cairn/retention.h>

#include <memory>

namespace cairn::cli {
namespace {

struct DeleteOptions {
    DeletionTarget target;
    bool confirmed = false;
};

Status delete_whole_runs(const Cli& cli, const DeleteOptions& options) {
    const DeletionTarget& target = options.target;
    if (!target.run_id && !target.thread_id && !target.user_id) {
        return fail(ErrorCode::kInvalidArgument, "nothing says what is to go: give --run, --thread or --user");
    }
    return run_deletion(cli, options.confirmed,
                        [&](Store& store, const RetentionOptions& how) { return delete_runs(store, target, how); });
}

}  // namespace

void add_delete_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("delete", "Delete whole runs: one, a thread's or a user's");
    const auto options = std::make_shared<DeleteOptions>();
    command->add_option("--run", options->target.run_id, "This run")->type_name("RUN");
    command->add_option("--thread", options->target.thread_id, "The runs of this thread")->type_name("THREAD");
    command->add_option("--user", options->target.user_id, "The runs of this user")->type_name("USER");
    add_confirmation_option(*command, options->confirmed);
    command->callback([&cli, options] { cli.action = [&cli, options] { return delete_whole_runs(cli, *options); }; });
    command->footer(
        "Everything in them goes, recovery points and recovery logs too. Several options narrow it down. Ctrl-C\n"
        "stops between two steps.\n\n"
        "Examples:\n"
        "  cairn delete --run r1\n"
        "  cairn delete --user u1 --yes\n"
        "  cairn delete --thread t1 --user u1 --yes --json");
}

}  // namespace cairn::cli
