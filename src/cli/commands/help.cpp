// `cairn help` and `cairn version`: for users who expect a word, as other programs have one.

#include "base/nearest_name.h"
#include "cli/command.h"
#include "cli/terminal/output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <vector>

namespace cairn::cli {
namespace {

// `App::help` would print the help of the chosen command, which is this one.
std::string help_of(const CLI::App& command, const std::string& name) {
    return command.get_formatter()->make_help(&command, name, CLI::AppFormatMode::Normal);
}

Status print_help(const CLI::App& app, const std::string& name) {
    if (name.empty()) {
        print(help_of(app, app.get_name()));
        return {};
    }
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands({})) {
        if (command->get_name() == name) {
            print(help_of(*command, app.get_name() + " " + name));
            return {};
        }
        if (!command->get_group().empty()) names.push_back(command->get_name());
    }
    const std::string near = nearest_name(name, names);
    return std::unexpected(advise({.code = ErrorCode::kInvalidArgument,
                                   .message = fmt::format("\"{}\" is no command{}", name,
                                                          near.empty() ? "" : fmt::format(": did you mean {}?", near))},
                                  "`cairn help` lists the commands."));
}

}  // namespace

void add_help_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("help", "Print the help of the program or of a command");
    const auto name = std::make_shared<std::string>();
    command->add_option("COMMAND", *name, "The command; the program itself if not given");
    command->callback([&app, &cli, name] {
        cli.needs_settings = false;
        cli.action = [&app, name] { return print_help(app, *name); };
    });
    command->footer(
        "Examples:\n"
        "  cairn help\n"
        "  cairn help load");
}

void add_version_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("version", "Print the version");
    command->callback([&cli] {
        cli.needs_settings = false;
        cli.action = [&cli]() -> Status {
            print_line(cli.json ? to_line({{"version", CAIRN_VERSION}}) : "cairn " CAIRN_VERSION);
            return {};
        };
    });
    command->footer(
        "Examples:\n"
        "  cairn version\n"
        "  cairn version --json | jq -r .version");
}

}  // namespace cairn::cli
