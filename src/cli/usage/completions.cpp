#include "cli/usage/completions.h"

#include <fmt/format.h>

#include <string_view>

namespace cairn::cli {
namespace {

using Value = OptionModel::Value;

std::string replaced(std::string_view text, std::string_view what, std::string_view with) {
    std::string result;
    for (const char c : text) {
        if (what.contains(c)) result += with;
        result += c;
    }
    return result;
}

// Returns one word of a shell, in single quotes.
std::string shell_word(std::string_view text) {
    std::string word = "'";
    for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return word + "'";
}

std::string command_names(const ProgramModel& model) {
    std::string names;
    for (const CommandModel& command : model.commands) names += (names.empty() ? "" : " ") + command.name;
    return names;
}

// The possible values.
std::string candidates(const OptionModel& option, const ProgramModel& model) {
    if (option.value == Value::kChoice) return fmt::format("{}", fmt::join(option.choices, " "));
    return option.value == Value::kCommand ? command_names(model) : "";
}

// ---- bash ----

std::string bash_reply(const OptionModel& option, const ProgramModel& model) {
    if (option.value == Value::kFile) return "compopt -o default 2>/dev/null";
    const std::string words = candidates(option, model);
    return words.empty() ? ":" : fmt::format("_cairn_words {}", shell_word(words));
}

std::string bash_values(const CommandModel& command, const ProgramModel& model) {
    std::string cases;
    for (const OptionModel& option : command.options) {
        if (option.value == Value::kNone) continue;
        std::string patterns;
        for (const std::string& name : option.names)
            patterns += fmt::format("{}{}:{}", patterns.empty() ? "" : " | ", command.name, name);
        cases += fmt::format("    {}) {}; return ;;\n", patterns, bash_reply(option, model));
    }
    return cases;
}

std::string bash_options(const CommandModel& command) {
    std::string names;
    for (const OptionModel& option : command.options) {
        for (const std::string& name : option.names) names += (names.empty() ? "" : " ") + name;
    }
    return fmt::format("    {}:-*) _cairn_words {} ;;\n", command.name, shell_word(names));
}

std::string bash_arguments(const CommandModel& command, const ProgramModel& model) {
    if (command.arguments.empty()) return "";
    return fmt::format("    {}:*) {} ;;\n", command.name, bash_reply(command.arguments.front(), model));
}

// ---- zsh ----

std::string zsh_value(const OptionModel& option, const ProgramModel& model) {
    const std::string words = candidates(option, model);
    const std::string action = option.value == Value::kFile ? "_files"
                               : words.empty()              ? " "
                                                            : fmt::format("({})", words);
    return fmt::format(":{}:{}", replaced(option.value_name, ":", "\\"), action);
}

std::string zsh_option(const OptionModel& option, const ProgramModel& model) {
    const std::string help = fmt::format("[{}]", replaced(option.description, "[]:\\", "\\"));
    std::string specifications;
    for (const std::string& name : option.names) {
        const std::string value = option.value == Value::kNone ? "" : zsh_value(option, model);
        specifications +=
            fmt::format(" \\\n            {}",
                        shell_word(fmt::format("{}{}{}{}", option.is_repeatable ? "*" : "", name, help, value)));
    }
    return specifications;
}

std::string zsh_command(const CommandModel& command, const ProgramModel& model) {
    std::string call = fmt::format("        {}) _arguments", command.name);
    for (const OptionModel& option : command.options) call += zsh_option(option, model);
    for (const OptionModel& argument : command.arguments) {
        call +=
            fmt::format(" \\\n            {}",
                        shell_word(fmt::format("{}{}", argument.is_repeatable ? "*" : "", zsh_value(argument, model))));
    }
    return call + " ;;\n";
}

// ---- fish ----

std::string fish_option(const OptionModel& option, const std::string& condition, const ProgramModel& model) {
    std::string line = fmt::format("complete -c cairn -n {}", shell_word(condition));
    for (const std::string& name : option.names) {
        line += name.starts_with("--") ? fmt::format(" -l {}", name.substr(2)) : fmt::format(" -s {}", name.substr(1));
    }
    if (option.value == Value::kFile) line += " -r -F";
    if (option.value != Value::kNone && option.value != Value::kFile) line += " -x";
    const std::string words = candidates(option, model);
    if (!words.empty()) line += " -a " + shell_word(words);
    return line + " -d " + shell_word(replaced(option.description, "\\", "\\")) + "\n";
}

std::string fish_command(const CommandModel& command, const ProgramModel& model) {
    const std::string condition = "__fish_seen_subcommand_from " + command.name;
    std::string lines = fmt::format("complete -c cairn -n __fish_use_subcommand -a {} -d {}\n", command.name,
                                    shell_word(command.description));
    for (const OptionModel& option : command.options) lines += fish_option(option, condition, model);
    if (command.arguments.empty()) return lines;
    const OptionModel& argument = command.arguments.front();
    const std::string words = candidates(argument, model);
    if (argument.value == Value::kFile) lines += fmt::format("complete -c cairn -n {} -F\n", shell_word(condition));
    if (!words.empty())
        lines += fmt::format("complete -c cairn -n {} -a {}\n", shell_word(condition), shell_word(words));
    return lines;
}

}  // namespace

std::string bash_completion(const ProgramModel& model) {
    std::string values = bash_values(model.program, model);
    std::string rest = bash_options(model.program);
    for (const CommandModel& command : model.commands) {
        values += bash_values(command, model);
        rest += bash_options(command) + bash_arguments(command, model);
    }
    const std::string names = command_names(model);
    return fmt::format(
        "# Completion of cairn for bash. Made by the program itself.\n\n"
        "_cairn_words() {{\n    COMPREPLY=($(compgen -W \"$1\" -- \"$current\"))\n}}\n\n"
        "_cairn() {{\n"
        "    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} command='' index\n"
        "    COMPREPLY=()\n"
        "    for ((index = 1; index < COMP_CWORD; ++index)); do\n"
        "        [[ \" {} \" == *\" ${{COMP_WORDS[index]}} \"* ]] && command=${{COMP_WORDS[index]}} && break\n"
        "    done\n"
        "    case $command:$previous in\n{}    esac\n"
        "    case $command:$current in\n{}    :*) _cairn_words {} ;;\n    esac\n}}\n\n"
        "complete -F _cairn cairn\n",
        names, values, rest, shell_word(names));
}

std::string zsh_completion(const ProgramModel& model) {
    std::string descriptions;
    std::string cases;
    for (const CommandModel& command : model.commands) {
        descriptions +=
            fmt::format("        {}\n", shell_word(command.name + ":" + replaced(command.description, ":", "\\")));
        cases += zsh_command(command, model);
    }
    std::string own;
    for (const OptionModel& option : model.program.options) own += zsh_option(option, model);
    return fmt::format(
        "#compdef cairn\n# Completion of cairn for zsh. Made by the program itself.\n\n"
        "_cairn() {{\n"
        "    local curcontext=$curcontext state line\n    local -a commands\n    typeset -A opt_args\n"
        "    commands=(\n{}    )\n"
        "    _arguments -C{} \\\n            '1:command:->command' '*::argument:->argument'\n"
        "    case $state in\n    command) _describe command commands ;;\n"
        "    argument)\n        case $words[1] in\n{}        esac ;;\n    esac\n}}\n\n"
        "_cairn \"$@\"\n",
        descriptions, own, cases);
}

std::string fish_completion(const ProgramModel& model) {
    std::string lines = "# Completion of cairn for fish. Made by the program itself.\n\ncomplete -c cairn -f\n";
    for (const OptionModel& option : model.program.options)
        lines += fish_option(option, "__fish_use_subcommand", model);
    for (const CommandModel& command : model.commands) lines += fish_command(command, model);
    return lines;
}

}  // namespace cairn::cli
