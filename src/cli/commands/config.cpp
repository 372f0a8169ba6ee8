#include "cli/command.h"
#include "cli/terminal/output.h"
#include "store/scheme_table.h"
#include "wire/report_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace cairn::cli {
namespace {

// Only the program knows the command line as an origin.
std::string origin_of(const Cli& cli, const ConfigEntry& entry) {
    const bool given = entry.variable == "CAIRN_STORE" && !cli.store_option.empty();
    return given ? "--store" : std::string(to_string(entry.origin));
}

// The reason that the store cannot work, as far as it can be seen without opening it; empty: none.
std::string problem_of_store(const std::string& url) {
    const Status usable = check_store_url(url);
    return usable ? "" : usable.error().message;
}

std::string problem_of(const Cli& cli, const ConfigEntry& entry) {
    return entry.variable == "CAIRN_STORE" ? problem_of_store(cli.config().store_url) : "";
}

// A user who wonders why a setting has no effect might look at `.env`.
void print_notes(const Cli& cli) {
    if (!cli.loaded.dotenv_ignored.empty()) {
        print_message(printable(fmt::format("note: .env is not read, because of {}", cli.loaded.dotenv_ignored)) +
                      "\n");
    }
    for (const std::string& name : cli.loaded.unknown) {
        print_message(printable(fmt::format("note: {} is no setting of cairn, and is not looked at", name)) + "\n");
    }
}

void print_json(const Cli& cli) {
    JsonArray array;
    for (const ConfigEntry& entry : cli.loaded.entries) {
        const std::string problem = problem_of(cli, entry);
        Json object = entry_object(entry);
        object["origin"] = origin_of(cli, entry);
        object["problem"] = problem.empty() ? Json() : Json(problem);
        array.add(to_line(object));
    }
    array.end();
}

void print_text(const Cli& cli) {
    Table table({{"VARIABLE"}, {"VALUE"}, {"ORIGIN"}, {"MEANING"}});
    for (const ConfigEntry& entry : cli.loaded.entries) {
        const std::string problem = problem_of(cli, entry);
        table.add({std::string(entry.variable), entry.value, origin_of(cli, entry),
                   problem.empty() ? std::string(entry.description) : "CANNOT WORK: " + problem});
    }
    table.print();
}

}  // namespace

void add_config_command(CLI::App& app, Cli& cli) {
    CLI::App* command = app.add_subcommand("config", "Show every setting, its value and where it comes from");
    command->callback([&cli] {
        cli.action = [&cli]() -> Status {
            cli.json ? print_json(cli) : print_text(cli);
            print_notes(cli);
            return {};
        };
    });
    command->footer(
        "Settings are read from the environment, else from the file .env in the working folder, which does not count\n"
        "where ENVIRONMENT is production or staging. A store that cannot work is marked.\n\n"
        "Examples:\n"
        "  cairn config\n"
        "  ENABLE_OPTIMIZED_PERSISTENCE=true cairn config --json | jq '.[0]'");
}

}  // namespace cairn::cli
