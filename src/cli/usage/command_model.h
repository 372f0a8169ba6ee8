#pragma once

// The program's command line as plain data. The manual page and the completions are made from it, so they match the
// program.

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace cairn::cli {

struct OptionModel {
    enum class Value : std::uint8_t { kNone, kText, kFile, kCommand, kChoice };

    std::vector<std::string> names = {};  ///< "--run", "-h"; for a positional argument its name in capitals.
    std::string description = {};
    Value value = Value::kNone;
    std::string value_name = {};            ///< "RUN"
    std::vector<std::string> choices = {};  ///< Only for kChoice.
    bool is_required = false;
    bool is_repeatable = false;
};

struct CommandModel {
    std::string name = {};
    std::string description = {};
    std::vector<OptionModel> options = {};
    std::vector<OptionModel> arguments = {};  ///< In positional order.
    std::string footer = {};
};

struct ProgramModel {
    CommandModel program;  ///< Its own options; without a name.
    std::vector<CommandModel> commands;
};

/// Returns the values that an option accepts, if it accepts only certain ones.
std::vector<std::string> choices_of(const CLI::Option& option);

/// Hidden commands and options are left out.
ProgramModel model_of(const CLI::App& app);

}  // namespace cairn::cli
