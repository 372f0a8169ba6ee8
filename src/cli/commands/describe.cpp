// A hidden command: the program writes its own manual page and completions, so that they always match the program. The
// build calls it; `make install` installs the results.

#include "cli/command.h"
#include "cli/terminal/output.h"
#include "cli/usage/command_model.h"
#include "cli/usage/completions.h"
#include "cli/usage/man_page.h"

namespace cairn::cli {
namespace {

std::string description(const std::string& as, const ProgramModel& model) {
    if (as == "bash") return bash_completion(model);
    if (as == "zsh") return zsh_completion(model);
    return as == "fish" ? fish_completion(model) : man_page(model);
}

}  // namespace

void add_describe_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("describe", "Print the manual page or a shell's completion");
    const auto as = std::make_shared<std::string>();
    command->group("");
    command->add_option("AS", *as)->required()->check(CLI::IsMember({"man", "bash", "zsh", "fish"}));
    command->callback([&app, &cli, as] {
        cli.needs_settings = false;
        cli.action = [&app, as]() -> Status {
            print(description(*as, model_of(app)));
            return {};
        };
    });
}

}  // namespace cairn::cli
