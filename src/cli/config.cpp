#include "cli/command.h"
#include "cli/output.h"

#include <nlohmann/json.hpp>

namespace cairn::cli {
namespace {

// The command line is an origin that only the program knows.
std::string origin_of(const Cli& cli, const ConfigEntry& entry) {
    const bool given = entry.variable == "CAIRN_STORE" && !cli.store_option.empty();
    return given ? "--store" : std::string(to_string(entry.origin));
}

void print_json(const Cli& cli) {
    JsonArray array;
    for (const ConfigEntry& entry : cli.loaded.entries) {
        array.add(to_line({{"variable", entry.variable},
                           {"value", entry.value},
                           {"origin", origin_of(cli, entry)},
                           {"accepts", entry.accepts},
                           {"description", entry.description}}));
    }
    array.end();
}

void print_text(const Cli& cli) {
    Table table({{"VARIABLE"}, {"VALUE"}, {"ORIGIN"}, {"MEANING"}});
    for (const ConfigEntry& entry : cli.loaded.entries) {
        table.add({std::string(entry.variable), entry.value, origin_of(cli, entry), std::string(entry.description)});
    }
    table.print();
}

}  // namespace

void add_config_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("config", "Show every setting, its value and where it comes from");
    command->callback([&cli] {
        cli.action = [&cli]() -> Status {
            cli.json ? print_json(cli) : print_text(cli);
            return {};
        };
    });
    command->footer(
        "Settings are read from the environment, else from the file .env in the working folder.\n\n"
        "Examples:\n"
        "  cairn config\n"
        "  ENABLE_OPTIMIZED_PERSISTENCE=true cairn config --json | jq '.[0]'");
}

}  // namespace cairn::cli
