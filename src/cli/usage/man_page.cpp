#include "cli/usage/man_page.h"

#include "config/settings.h"

#include <cairn/error.h>

#include <fmt/format.h>

#include <algorithm>

#include <string_view>

namespace cairn::cli {
namespace {

std::uint32_t code_point_at(std::string_view text, std::size_t& at) {
    const auto first = static_cast<unsigned char>(text[at++]);
    if (first < 0x80) return first;
    std::uint32_t point = first < 0xE0 ? first & 0x1FU : first < 0xF0 ? first & 0x0FU : first & 0x07U;
    for (; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U; ++at) {
        point = point << 6U | (static_cast<unsigned char>(text[at]) & 0x3FU);
    }
    return point;
}

// Returns the text as the formatter reads it: its own characters escaped, and only ASCII.
std::string roff(std::string_view text) {
    std::string escaped;
    for (std::size_t at = 0; at < text.size();) {
        const bool begins_line = at == 0 || text[at - 1] == '\n';
        const std::uint32_t point = code_point_at(text, at);
        if (begins_line && (point == '.' || point == '\'')) escaped += "\\&";
        if (point == '\\') {
            escaped += "\\e";
        } else if (point == '-') {
            escaped += "\\-";
        } else if (point < 0x80) {
            escaped += static_cast<char>(point);
        } else {
            escaped += fmt::format("\\[u{:04X}]", point);
        }
    }
    return escaped;
}

std::string bold(std::string_view text) {
    return "\\fB" + roff(text) + "\\fR";
}

std::string italic(std::string_view text) {
    return "\\fI" + roff(text) + "\\fR";
}

std::string title_of(const OptionModel& option) {
    std::string title;
    for (const std::string& name : option.names) title += (title.empty() ? "" : ", ") + bold(name);
    if (option.value == OptionModel::Value::kChoice)
        return title + " " + italic(fmt::format("{}", fmt::join(option.choices, "|")));
    return option.value == OptionModel::Value::kNone ? title : title + " " + italic(option.value_name);
}

std::string tagged(const std::string& title, std::string_view text) {
    return fmt::format(".TP\n{}\n{}\n", title, roff(text));
}

// Paragraphs are filled; an indented line, and the line above it, stays as it is.
std::string prose(std::string_view text) {
    std::string page;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find("\n\n"), text.size());
        const std::string_view paragraph = text.substr(0, end);
        const bool is_literal = paragraph.contains("\n  ");
        page += is_literal ? fmt::format(".PP\n.nf\n{}\n.fi\n", roff(paragraph))
                           : fmt::format(".PP\n{}\n", roff(paragraph));
        text.remove_prefix(std::min(end + 2, text.size()));
    }
    return page;
}

std::string usage_of(const CommandModel& command) {
    std::string usage = "cairn " + command.name;
    for (const OptionModel& argument : command.arguments) {
        const std::string name = argument.value_name + (argument.is_repeatable ? "…" : "");
        usage += argument.is_required ? " " + name : " [" + name + "]";
    }
    for (const OptionModel& option : command.options) {
        if (option.is_required) usage += fmt::format(" {} {}", option.names.back(), option.value_name);
    }
    return usage;
}

bool is_common(const OptionModel& option, const CommandModel& program) {
    for (const OptionModel& common : program.options) {
        if (common.names == option.names) return true;
    }
    return false;
}

std::string section_of(const CommandModel& command, const CommandModel& program) {
    std::string page = fmt::format(".SS {}\n{}.\n", roff(usage_of(command)), roff(command.description));
    for (const OptionModel& argument : command.arguments)
        page += tagged(italic(argument.value_name), argument.description);
    for (const OptionModel& option : command.options) {
        if (!is_common(option, program)) page += tagged(title_of(option), option.description);
    }
    return page + prose(command.footer);
}

std::string exit_status() {
    std::string page = ".SH EXIT STATUS\n" + tagged("0", "Success.") + tagged("1", "Anything unexpected.");
    for (const ErrorInfo& info : error_table()) {
        page += tagged(fmt::format("{}", info.exit_code), fmt::format("{}: {}", info.name, info.advice));
    }
    return page;
}

std::string environment() {
    std::string page = ".SH ENVIRONMENT\nThe same settings are read from the file .env in the working folder.\n";
    const Config defaults;
    for (const Setting& setting : settings()) {
        page += tagged(bold(setting.variable), fmt::format("{} ({}; default {})", setting.description, setting.accepts,
                                                           setting.print(defaults)));
    }
    return page;
}

}  // namespace

std::string man_page(const ProgramModel& model) {
    std::string page = fmt::format(
        ".TH CAIRN 1 \"\" \"cairn {0}\" \"User Commands\"\n.SH NAME\ncairn \\- {1}\n.SH SYNOPSIS\n{2} {3} [{4}]\n"
        ".SH DESCRIPTION\n{1}\n.PP\nThese options are accepted before and after every command:\n",
        CAIRN_VERSION, roff(model.program.description), bold("cairn"), italic("COMMAND"), italic("OPTION ..."));
    for (const OptionModel& option : model.program.options) page += tagged(title_of(option), option.description);
    page += ".SH COMMANDS\n";
    for (const CommandModel& command : model.commands) page += section_of(command, model.program);
    page += exit_status() + environment();
    page += ".SH FILES\n" + tagged(italic("cairn.db"), "The store, unless CAIRN_STORE or --store names another.") +
            tagged(italic(".env"), "Settings, if it is in the working folder.");
    return page;
}

}  // namespace cairn::cli
