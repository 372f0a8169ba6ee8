#include "cli/run/run_input.h"

#include "files/input_file.h"
#include "state/utf8.h"
#include "wire/json_line.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <optional>
#include <string_view>
#include <utility>

namespace cairn::cli {
namespace {

// Returns the end of the value or key that begins at `from` of a normal text.
std::size_t end_of_value(std::string_view text, std::size_t from) {
    std::size_t depth = 0;
    bool in_string = false;
    for (std::size_t at = from; at < text.size(); ++at) {
        const char c = text[at];
        if (in_string) {
            if (c == '\\') ++at;
            if (c == '"') in_string = false;
            continue;
        }
        if (depth == 0 && (c == ',' || c == ':' || c == '}' || c == ']')) return at;
        if (c == '"') in_string = true;
        if (c == '{' || c == '[') ++depth;
        if (c == '}' || c == ']') --depth;
    }
    return text.size();
}

bool means(std::string_view key_text, const std::string& key) {
    const Json written = Json::parse(key_text, nullptr, false);
    return written.is_string() && written.get_ref<const std::string&>() == key;
}

// Returns VALUE's normal text: as written, if it is JSON.
std::string value_text(std::string_view value, const StateLimits& limits) {
    const auto wrapped = State::parse(fmt::format("{{\"v\":{}}}", value), limits);
    const auto text = wrapped ? wrapped->member("v") : std::nullopt;
    const bool is_one_value = text && wrapped->size_bytes() == text->size() + 6;
    return is_one_value ? std::string(*text) : to_line(Json(value));
}

Result<State> read_state(const std::string& input, const StateLimits& limits) {
    if (input.empty()) return State();
    auto text = read_input(input, limits.bytes_max);
    if (!text) return std::unexpected(std::move(text.error()));
    auto state = State::parse(*std::move(text), limits);
    if (state) return state;
    state.error().message =
        fmt::format("--input {}: {}", input == "-" ? "(standard input)" : input, state.error().message);
    return state;
}

}  // namespace

State with_top_member(const State& state, const std::string& key, const std::string& json_text) {
    const std::string_view text = state.text();
    std::string changed = "{";
    bool is_there = false;
    const auto add = [&](std::string_view key_text, std::string_view value) {
        if (changed.size() > 1) changed += ',';
        changed.append(key_text).append(":").append(value);
    };
    for (std::size_t at = 1; at < text.size() && text[at] == '"';) {
        const std::size_t colon = end_of_value(text, at);
        const std::size_t end = end_of_value(text, colon + 1);
        const std::string_view key_text = text.substr(at, colon - at);
        const bool is_it = means(key_text, key);
        is_there = is_there || is_it;
        add(key_text, is_it ? json_text : text.substr(colon + 1, end - colon - 1));
        at = end + 1;
    }
    if (!is_there) add(to_line(Json(key)), json_text);
    return State::from_normal_text(std::move(changed.append("}")));
}

Result<State> read_run_input(const std::string& input, const std::vector<std::string>& settings,
                             const StateLimits& limits) {
    auto state = read_state(input, limits);
    return state ? with_settings(*std::move(state), settings, limits) : state;
}

Result<State> with_settings(State state, const std::vector<std::string>& settings, const StateLimits& limits) {
    for (const std::string& setting : settings) {
        const auto equals = setting.find('=');
        if (equals == std::string::npos || equals == 0) {
            return fail(ErrorCode::kInvalidArgument, fmt::format("--set \"{}\": give KEY=VALUE", setting));
        }
        if (!is_utf8(setting)) {
            return fail(ErrorCode::kInvalidArgument, fmt::format("--set \"{}\": it is not UTF-8", setting));
        }
        state = with_top_member(state, setting.substr(0, equals), value_text(setting.substr(equals + 1), limits));
    }
    auto checked = State::parse(state.text(), limits);
    if (!checked) checked.error().message = "--set: " + checked.error().message;
    return checked;
}

}  // namespace cairn::cli
