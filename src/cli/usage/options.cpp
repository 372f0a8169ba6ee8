#include "cli/usage/options.h"

#include "cli/terminal/output.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace cairn::cli {
namespace {

std::string check_whole_number(const std::string& text) {
    std::int64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, number);
    const bool plain = error == std::errc() && stopped == end && number >= 0 && (text.size() == 1 || text[0] != '0');
    return plain ? "" : "\"" + text + "\" is not a whole number, 0 or more";
}

// Returns a value as metadata writes it: "3" and "true" are JSON, "eu" is a string.
Result<std::string> metadata_value(const std::string& text) {
    if (!Json::accept(text)) return to_line(Json(text));
    const auto object = State::parse("{\"value\":" + text + "}");
    if (!object) return std::unexpected(object.error());
    return std::string(object->member("value").value_or(""));
}

}  // namespace

void add_common_options(CLI::App& app, Cli& cli) {
    app.add_option("--store", cli.store_option, "Store URL, instead of CAIRN_STORE: sqlite:PATH or memory:")
        ->type_name("URL")
        ->group("Common options");
    app.add_flag("--json", cli.json, "Print JSON for machines; an error too, as the last line on standard error")
        ->group("Common options");
}

void refuse_empty_values(CLI::App& command) {
    for (CLI::Option* option : command.get_options()) {
        const bool may_be_empty = option->check_lname("phase") || option->check_lname("reason");
        if (option->get_type_size() == 0 || may_be_empty) continue;
        option->check([](const std::string& value) { return value.empty() ? "the value is empty" : ""; }, "");
    }
}

CLI::Option* add_run_option(CLI::App& command, std::string& run_id) {
    return command.add_option("--run", run_id, "The run's id")->type_name("RUN")->required();
}

void add_owner_options(CLI::App& command, Owner& owner) {
    command.add_option("--thread", owner.thread_id, "Only if this thread owns it")->type_name("THREAD");
    command.add_option("--user", owner.user_id, "Only if this user owns it")->type_name("USER");
}

void add_metadata_option(CLI::App& command, std::vector<std::string>& metadata) {
    command
        .add_option("--metadata", metadata,
                    "Labels, by which `cairn log --metadata` finds it: KEY=VALUE (repeatable) or a JSON object")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
}

Result<std::optional<State>> read_metadata_option(const std::vector<std::string>& metadata, const StateLimits& limits) {
    if (metadata.empty()) return std::nullopt;
    const bool is_object = metadata.size() == 1 && metadata.front().find_first_not_of(" \t\r\n") != std::string::npos &&
                           metadata.front()[metadata.front().find_first_not_of(" \t\r\n")] == '{';
    if (is_object) return read_object_option("--metadata", metadata.front(), limits);
    std::string object;
    for (const std::string& text : metadata) {
        const auto member = read_member(text);
        if (!member) return std::unexpected(member.error());
        object += fmt::format("{}{}:{}", object.empty() ? "{" : ",", to_line(Json(member->first)), member->second);
    }
    return read_object_option("--metadata", object + "}", limits);
}

Result<std::pair<std::string, std::string>> read_member(const std::string& text) {
    const auto equals = text.find('=');
    if (equals == std::string::npos) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("--metadata: \"{}\" is not KEY=VALUE", text));
    }
    auto value = metadata_value(text.substr(equals + 1));
    if (!value) return std::unexpected(value.error());
    return std::pair(text.substr(0, equals), *std::move(value));
}

Result<std::optional<State>> read_object_option(const std::string& option, const std::string& text,
                                                const StateLimits& limits) {
    if (text.empty()) return std::nullopt;
    auto object = State::parse(text, limits);
    if (object) return *std::move(object);
    object.error().message = option + ": " + object.error().message;
    return std::unexpected(std::move(object.error()));
}

CLI::Option* add_number_option(CLI::App& command, const std::string& name, std::optional<std::int64_t>& value,
                               const std::string& description) {
    return command.add_option(name, value, description)->type_name("N")->check(check_whole_number, "");
}

void RowLimit::add_option(CLI::App& command, const std::string& rows) {
    add_number_option(command, "--limit", value_, "Print at most N " + rows + " (default 20, 0 for all)");
}

std::size_t RowLimit::next_page(std::uint64_t printed) const {
    constexpr std::uint64_t kPage = 500;
    return rows() == 0 ? kPage : std::min(kPage, rows() - printed);
}

void RowLimit::mention_more() const {
    if (isatty(STDOUT_FILENO) != 1) return;
    print_message(fmt::format("cairn: these are the first {}; --limit 0 shows all\n", rows()));
}

std::size_t RowLimit::or_all() const {
    constexpr std::uint64_t kAll = std::numeric_limits<std::int32_t>::max();
    return rows() == 0 ? kAll : rows();
}

}  // namespace cairn::cli
