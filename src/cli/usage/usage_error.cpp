#include "cli/usage/usage_error.h"

#include "cli/usage/suggestion.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace cairn::cli {
namespace {

const CLI::App* chosen_command(const CLI::App& app) {
    const auto chosen = app.get_subcommands();
    return chosen.empty() ? nullptr : chosen.front();
}

std::string named(const CLI::App* command) {
    return command == nullptr ? "cairn" : "cairn " + command->get_name();
}

std::string help_of(const CLI::App* command) {
    return fmt::format("`{} --help` lists {}", named(command), command == nullptr ? "the commands" : "what it accepts");
}

std::vector<std::string> option_names(const CLI::App& command) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
        for (const std::string& name : option->get_snames()) names.push_back("-" + name);
    }
    return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command :
         app.get_subcommands([](const CLI::App* each) { return !each->get_group().empty(); })) {
        names.push_back(command->get_name());
    }
    return names;
}

std::string meant(std::string_view word, const std::vector<std::string>& names) {
    const std::string name = nearest_name(word, names);
    return name.empty() ? "" : fmt::format(": did you mean {}?", name);
}

// The first word that looks like an option and is none of the command's.
std::optional<std::string> unknown_option(const CLI::App& command, std::span<const std::string> words) {
    const std::vector<std::string> names = option_names(command);
    for (const std::string& word : words) {
        if (word == "--") break;
        if (!word.starts_with("--")) continue;
        const std::string name = word.substr(0, word.find('='));
        if (std::ranges::find(names, name) == names.end()) return name;
    }
    return std::nullopt;
}

// CLI11 looks for what is missing before it looks at what is too much; a person has mistyped one word.
std::string problem(const CLI::App& app, const CLI::ParseError& error, std::span<const std::string> words) {
    const CLI::App* command = chosen_command(app);
    const bool is_extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
    const bool is_missing = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
    if (!is_extra && !is_missing) return error.what();
    const std::vector<std::string> extras = app.remaining(true);
    if (command == nullptr && !extras.empty() && !extras.front().starts_with("-")) {
        return fmt::format("\"{}\" is no command{}", extras.front(), meant(extras.front(), command_names(app)));
    }
    const CLI::App& accepts = command == nullptr ? app : *command;
    const auto option = unknown_option(accepts, words);
    if (!option) return error.what();
    return fmt::format("\"{}\" has no option {}{}", named(command), *option, meant(*option, option_names(accepts)));
}

}  // namespace

Error usage_error(const CLI::App& app, const CLI::ParseError& error, std::span<const std::string> words) {
    return {.code = ErrorCode::kInvalidArgument,
            .message = fmt::format("{}; {}", problem(app, error, words), help_of(chosen_command(app)))};
}

}  // namespace cairn::cli
