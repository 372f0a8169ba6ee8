#pragma once

// What the program's command line accepts, as plain data: the manual page and the completions are made of it, so they
// say what the program does.

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace cairn::cli {

struct OptionModel {
    enum class Value : std::uint8_t { kNone, kText, kFile, kCommand, kChoice };

    std::vector<std::string> names = {};  ///< "--run", "-h"; of a positional argument its name in capitals.
    std::string description = {};
    Value value = Value::kNone;
    std::string value_name = {};            ///< "RUN"
    std::vector<std::string> choices = {};  ///< Of kChoice.
    bool is_required = false;
    bool is_repeatable = false;
};

struct CommandModel {
    std::string name = {};
    std::string description = {};
    std::vector<OptionModel> options = {};
    std::vector<OptionModel> arguments = {};  ///< By their place.
    std::string footer = {};
};

struct ProgramModel {
    CommandModel program;  ///< Its own options; without a name.
    std::vector<CommandModel> commands;
};

/// The values that an option accepts, if there are only so many.
std::vector<std::string> choices_of(const CLI::Option& option);

/// Without what is hidden.
ProgramModel model_of(const CLI::App& app);

}  // namespace cairn::cli
