// The JSON that a YAML value means (YAML 1.2, core schema).

#include "pipeline_file/yaml_document.h"
#include "wire/json_line.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

namespace cairn {
namespace {

std::size_t digits_at(std::string_view text, std::size_t from) {
    const auto end = text.find_first_not_of("0123456789", from);
    return (end == std::string_view::npos ? text.size() : end) - from;
}

// Reads "1", "-7", "+.5", "5.", "007", "1e3": returns the form that JSON wants, with the same digits. Nothing: not a
// decimal number.
std::optional<std::string> decimal(std::string_view text) {
    const bool is_signed = text.starts_with('-') || text.starts_with('+');
    std::string number = text.starts_with('-') ? "-" : "";
    std::size_t at = is_signed ? 1 : 0;
    const std::size_t whole = digits_at(text, at);
    std::string_view integer = text.substr(at, whole);
    while (integer.size() > 1 && integer.front() == '0') integer.remove_prefix(1);
    number.append(integer.empty() ? "0" : integer);
    at += whole;
    if (at < text.size() && text[at] == '.') {
        const std::size_t fraction = digits_at(text, at + 1);
        if (whole + fraction == 0) return std::nullopt;
        number.append(".").append(fraction == 0 ? "0" : text.substr(at + 1, fraction));
        at += 1 + fraction;
    } else if (whole == 0) {
        return std::nullopt;
    }
    if (at == text.size()) return number;
    const std::string_view exponent = text.substr(at);
    const bool has_sign = exponent.size() > 1 && (exponent[1] == '-' || exponent[1] == '+');
    const std::size_t first = has_sign ? 2 : 1;
    const bool is_exponent = exponent[0] == 'e' || exponent[0] == 'E';
    if (!is_exponent || exponent.size() == first || digits_at(exponent, first) + first != exponent.size()) return {};
    return number.append(exponent);
}

// Reads "0x1F" and "0o17".
std::optional<std::string> other_base(const YamlNode& node) {
    const std::string_view text = node.text;
    const bool is_hexadecimal = text.starts_with("0x");
    if (text.size() < 3 || (!is_hexadecimal && !text.starts_with("0o"))) return std::nullopt;
    std::uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data() + 2, end, number, is_hexadecimal ? 16 : 8);
    if (stopped != end) return std::nullopt;
    if (error == std::errc()) return std::to_string(number);
    throw YamlProblem(node.mark, fmt::format("{} is more than 64 bit: write it as a decimal number", describe(node)));
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
    return std::ranges::find(words, text) != words.end();
}

std::string to_json_string(const std::string& text) {
    return to_line(Json(text));
}

std::string scalar_text(const YamlNode& node) {
    const std::string& text = node.text;
    if (!node.is_plain) return to_json_string(text);
    if (is_one_of(text, {"", "~", "null", "Null", "NULL"})) return "null";
    if (is_one_of(text, {"true", "True", "TRUE"})) return "true";
    if (is_one_of(text, {"false", "False", "FALSE"})) return "false";
    const std::string_view unsigned_text = std::string_view(text).substr(text[0] == '-' || text[0] == '+' ? 1 : 0);
    if (is_one_of(unsigned_text, {".inf", ".Inf", ".INF"}) || is_one_of(text, {".nan", ".NaN", ".NAN"})) {
        throw YamlProblem(node.mark, fmt::format("{} has no form in JSON", describe(node)));
    }
    if (auto number = other_base(node)) return *number;
    if (auto number = decimal(text)) return *number;
    return to_json_string(text);
}

std::string map_text(const YamlNode& node) {
    std::string text;
    for (const YamlMember& member : node.members) {
        if (member.key.is_plain && member.key.text == "<<") {
            throw YamlProblem(member.key.mark, "a merge key (<<): they are not accepted, write the members out");
        }
        if (!text.empty()) text += ',';
        text.append(to_json_string(member.key.text)).append(":").append(to_json_text(member.value));
    }
    return fmt::format("{{{}}}", text);
}

std::string list_text(const YamlNode& node) {
    std::string text;
    for (const YamlNode& item : node.items) {
        if (!text.empty()) text += ',';
        text += to_json_text(item);
    }
    return fmt::format("[{}]", text);
}

}  // namespace

std::string to_json_text(const YamlNode& node) {
    switch (node.kind) {
        case YamlNode::Kind::kScalar:
            return scalar_text(node);
        case YamlNode::Kind::kList:
            return list_text(node);
        case YamlNode::Kind::kMap:
            return map_text(node);
        case YamlNode::Kind::kNull:
            break;
    }
    return "null";
}

}  // namespace cairn
