#include "cli/command.h"
#include "cli/run/run_choice.h"
#include "cli/run/run_input.h"
#include "cli/terminal/output.h"
#include "cli/terminal/receipt.h"
#include "cli/usage/options.h"

#include <cairn/pipeline.h>

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

struct ApproveOptions {
    std::string run_id;
    std::string step;
    std::vector<std::string> settings;
    std::string by;
    bool reject = false;
    Owner owner;
};

Status approve(const Cli& cli, const ApproveOptions& options) {
    const auto store = cli.open_existing_for_writing();
    if (!store) return std::unexpected(store.error());
    const auto service = make_persistence(cli.config(), *store, cli.runtime);
    const auto change = [&](const State& state) {
        return with_settings(state, options.settings, cli.config().state_limits());
    };
    const auto receipt = decide_approval(*service, {.run_id = options.run_id,
                                                    .step = options.step,
                                                    .by = options.by.empty() ? login_name() : options.by,
                                                    .is_approved = !options.reject,
                                                    .change = change,
                                                    .thread_id = options.owner.thread_id,
                                                    .user_id = options.owner.user_id});
    if (!receipt) return std::unexpected(receipt.error());
    print_receipt(*receipt, cli.json);
    if (cli.json || options.reject) return {};
    const std::string words = cli.store_option.empty() ? "" : " --store " + shell_word(cli.store_label());
    print_line(fmt::format("go on:  cairn run PIPELINE --run {} --resume{}", shell_word(options.run_id), words));
    return {};
}

void add_options(CLI::App& command, ApproveOptions& options) {
    command.add_option("RUN", options.run_id, "The run's id")->required();
    command.add_option("--step", options.step, "The step that it waits at")->type_name("STEP")->required();
    CLI::Option* reject = command.add_flag("--reject", options.reject, "The run has failed, and does not go on");
    command
        .add_option("--set", options.settings,
                    "Put this member into the state; VALUE is JSON, or else a string. Repeatable")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false)
        ->excludes(reject);
    command.add_option("--by", options.by, "Who decides (default: your login name)")->type_name("NAME");
    add_owner_options(command, options.owner);
}

}  // namespace

void add_approve_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("approve", "Let a paused run go on, or reject what it waits with");
    const auto options = std::make_shared<ApproveOptions>();
    add_options(*command, *options);
    command->callback([&cli, options] { cli.action = [&cli, options] { return approve(cli, *options); }; });
    command->footer(
        "`cairn runs` shows which runs are paused and at which step; `cairn load` shows what they have. The decision "
        "is\n"
        "a snapshot of type manual with your name, and the first one counts: the run then goes on with\n"
        "`cairn run … --resume`, from any process. --json prints "
        "{\"snapshot_id\",\"outcome\",\"durability\",\"version\"}.\n\n"
        "Examples:\n"
        "  cairn approve r1 --step publish\n"
        "  cairn approve r1 --step publish --set tone=formal --by ann\n"
        "  cairn approve r1 --step publish --reject");
}

}  // namespace cairn::cli
