#include "cli/usage/command_model.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace cairn::cli {
namespace {

// CLI11 writes the type of an option with choices as "WHAT:{a,b}".
std::vector<std::string> choices_in(const std::string& type) {
    const auto open = type.find('{');
    const auto close = type.rfind('}');
    std::vector<std::string> choices;
    if (open == std::string::npos || close == std::string::npos) return choices;
    for (std::size_t from = open + 1; from < close;) {
        const std::size_t comma = std::min(type.find(',', from), close);
        choices.push_back(type.substr(from, comma - from));
        from = comma + 1;
    }
    return choices;
}

OptionModel::Value kind_of(const OptionModel& option) {
    constexpr std::array<std::string_view, 3> kFiles{"FILE", "PATH", "PIPELINE"};
    if (!option.choices.empty()) return OptionModel::Value::kChoice;
    if (option.value_name == "COMMAND") return OptionModel::Value::kCommand;
    return std::ranges::find(kFiles, option.value_name) == kFiles.end() ? OptionModel::Value::kText
                                                                        : OptionModel::Value::kFile;
}

OptionModel model_of(const CLI::Option& option) {
    OptionModel model{.description = option.get_description(),
                      .is_required = option.get_required(),
                      .is_repeatable = option.get_items_expected_max() > 1};
    for (const std::string& name : option.get_snames()) model.names.push_back("-" + name);
    for (const std::string& name : option.get_lnames()) model.names.push_back("--" + name);
    const std::string type = option.get_type_name();
    model.choices = choices_in(type);
    model.value_name = option.nonpositional() ? type.substr(0, type.find_first_of(" :")) : option.get_name();
    if (!option.nonpositional()) model.names = {option.get_name()};
    if (option.get_items_expected_max() > 0) model.value = kind_of(model);
    return model;
}

CommandModel model_of_command(const CLI::App& command) {
    CommandModel model{
        .name = command.get_name(), .description = command.get_description(), .footer = command.get_footer()};
    for (const CLI::Option* option : command.get_options()) {
        if (option->get_group().empty()) continue;  // an old name, for users who know it
        (option->nonpositional() ? model.options : model.arguments).push_back(model_of(*option));
    }
    return model;
}

}  // namespace

std::vector<std::string> choices_of(const CLI::Option& option) {
    return choices_in(option.get_type_name());
}

ProgramModel model_of(const CLI::App& app) {
    ProgramModel model{.program = model_of_command(app)};
    model.program.name.clear();
    for (const CLI::App* command : app.get_subcommands({})) {
        if (!command->get_group().empty()) model.commands.push_back(model_of_command(*command));
    }
    return model;
}

}  // namespace cairn::cli
