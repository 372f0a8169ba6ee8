#include "cli/usage/usage_error.h"

#include "base/nearest_name.h"
#include "cli/usage/command_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

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
    return fmt::format("`{} --help` lists {}.", named(command),
                       command == nullptr ? "the commands" : "what it accepts");
}

std::vector<std::string> option_names(const CLI::App& command) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options()) {
        if (option->get_group().empty()) continue;  // an old name
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

bool has_option(const CLI::App& command, const std::string& name) {
    return command.get_option_no_throw(name) != nullptr;
}

// Returns the first word that looks like an option and is not one of the command's.
std::optional<std::string> unknown_option(const CLI::App& command, std::span<const std::string> words,
                                          std::span<const std::string> left_over) {
    for (const std::string& word : words) {
        if (word == "--") break;
        const bool is_short = word.size() == 2 && word.starts_with("-") && std::ranges::count(left_over, word) > 0;
        if (!word.starts_with("--") && !is_short) continue;
        const std::string name = word.substr(0, word.find('='));
        if (!has_option(command, name)) return name;
    }
    return std::nullopt;
}

// An unexpected word; mostly it is the run, without its option.
std::string unexpected_argument(const CLI::App& command, const std::string& name, const std::string& word) {
    const CLI::Option* run = command.get_option_no_throw("--run");
    const bool is_run = run != nullptr && run->count() == 0;
    return fmt::format("\"{}\" takes no argument \"{}\"{}", name, word,
                       is_run ? fmt::format(": did you mean --run {}?", word) : "");
}

// "--type: rolback not in {resume,rollback,restart}"
std::optional<std::string> wrong_choice(const CLI::App& command, std::string_view problem) {
    const std::size_t colon = problem.find(": ");
    const std::size_t rest = problem.find(" not in {");
    if (colon == std::string_view::npos || rest == std::string_view::npos || rest < colon) return std::nullopt;
    const std::string name(problem.substr(0, colon));
    const CLI::Option* option = command.get_option_no_throw(name);
    if (option == nullptr) return std::nullopt;
    const std::vector<std::string> choices = choices_of(*option);
    const std::string value(problem.substr(colon + 2, rest - colon - 2));
    return fmt::format("{}: \"{}\" is none of {}{}", name, value, fmt::join(choices, ", "), meant(value, choices));
}

// CLI11 looks for missing options before it looks at superfluous ones; a person has mistyped one word.
std::string problem(const CLI::App& app, const CLI::ParseError& error, std::span<const std::string> words) {
    const CLI::App* command = chosen_command(app);
    const CLI::App& accepts = command == nullptr ? app : *command;
    const bool is_extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
    const bool is_missing = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
    if (!is_extra && !is_missing) return wrong_choice(accepts, error.what()).value_or(error.what());
    const std::vector<std::string> extras = app.remaining(true);
    const auto word = std::ranges::find_if(extras, [](const std::string& each) { return !each.starts_with("-"); });
    if (command == nullptr && word == extras.begin() && word != extras.end()) {
        return fmt::format("\"{}\" is no command{}", *word, meant(*word, command_names(app)));
    }
    if (const auto option = unknown_option(accepts, words, extras)) {
        return fmt::format("\"{}\" has no option {}{}", named(command), *option, meant(*option, option_names(accepts)));
    }
    return word == extras.end() ? error.what() : unexpected_argument(accepts, named(command), *word);
}

}  // namespace

Error usage_error(const CLI::App& app, const CLI::ParseError& error, std::span<const std::string> words) {
    return advise({.code = ErrorCode::kInvalidArgument, .message = problem(app, error, words)},
                  help_of(chosen_command(app)));
}

}  // namespace cairn::cli
