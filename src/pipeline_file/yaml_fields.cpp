#include "pipeline_file/yaml_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace cairn {
namespace {

struct Unit {
    std::string_view name;
    std::uint64_t factor;
};

// Returns the number before a unit, multiplied; nothing if it is not a number, or too large.
template <std::size_t kCount>
std::optional<std::uint64_t> measured(std::string_view text, const std::array<Unit, kCount>& units,
                                      std::uint64_t most) {
    const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto* unit = std::ranges::find(units, text.substr(digits), &Unit::name);
    std::uint64_t number = 0;
    const auto [stopped, error] = std::from_chars(text.begin(), text.begin() + digits, number);
    if (unit == units.end() || digits == 0 || error != std::errc() || number > most / unit->factor) return std::nullopt;
    return number * unit->factor;
}

bool is_scalar(const YamlNode& node) {
    return node.kind == YamlNode::Kind::kScalar;
}

}  // namespace

YamlFields::YamlFields(const YamlNode& map, std::string_view what, std::initializer_list<std::string_view> accepted)
    : map_(map), what_(what) {
    if (map.kind != YamlNode::Kind::kMap) {
        throw YamlProblem(map.mark,
                          fmt::format("{} is a map ({}), not {}", what, fmt::join(accepted, ", "), describe(map)));
    }
    for (const YamlMember& member : map.members) {
        if (std::ranges::find(accepted, member.key.text) != accepted.end()) continue;
        throw YamlProblem(member.key.mark, fmt::format("{} has no {}: it accepts {}", what, describe(member.key),
                                                       fmt::join(accepted, ", ")));
    }
}

const YamlNode* YamlFields::find(std::string_view key) const {
    const auto found = std::ranges::find_if(map_.members, [&](const YamlMember& m) { return m.key.text == key; });
    return found == map_.members.end() ? nullptr : &found->value;
}

const YamlNode& YamlFields::require(std::string_view key) const {
    const YamlNode* value = find(key);
    if (value == nullptr) throw YamlProblem(map_.mark, fmt::format("{} needs \"{}\"", what_, key));
    return *value;
}

void refuse(const YamlNode& node, std::string_view key, std::string_view accepted) {
    throw YamlProblem(node.mark, fmt::format("\"{}\" is {}: give {}", key, describe(node), accepted));
}

std::string read_text(const YamlNode& node, std::string_view key) {
    if (!is_scalar(node) || node.text.empty()) refuse(node, key, "text");
    return node.text;
}

std::string read_name(const YamlNode& node, std::string_view key) {
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
    const bool is_good = is_scalar(node) && !node.text.empty() && node.text.size() <= 255;
    if (!is_good || std::ranges::any_of(node.text, is_control)) {
        refuse(node, key, "a name of 1 to 255 bytes without control characters");
    }
    return node.text;
}

bool read_bool(const YamlNode& node, std::string_view key) {
    const bool is_true = node.is_plain && node.text == "true";
    const bool is_false = node.is_plain && node.text == "false";
    if (!is_true && !is_false) refuse(node, key, "true or false");
    return is_true;
}

int read_whole_number(const YamlNode& node, std::string_view key, int least, int most) {
    int number = 0;
    const char* end = node.text.data() + node.text.size();
    const auto [stopped, error] = std::from_chars(node.text.data(), end, number);
    const bool is_number = is_scalar(node) && node.is_plain && error == std::errc() && stopped == end;
    if (!is_number || number < least || number > most) {
        refuse(node, key, fmt::format("a whole number from {} to {}", least, most));
    }
    return number;
}

std::chrono::milliseconds read_duration(const YamlNode& node, std::string_view key) {
    constexpr std::array kUnits{Unit{"ms", 1}, Unit{"s", 1'000}, Unit{"m", 60'000}, Unit{"h", 3'600'000}};
    constexpr std::uint64_t kMonth = 30ULL * 24 * 3'600'000;  // the largest that the engine accepts
    const auto duration = is_scalar(node) ? measured(node.text, kUnits, kMonth) : std::nullopt;
    if (!duration) refuse(node, key, "a duration of at most 30 days: 500ms, 10s, 2m or 1h");
    return std::chrono::milliseconds(*duration);
}

std::uint64_t read_size(const YamlNode& node, std::string_view key) {
    constexpr std::array kUnits{Unit{"", 1}, Unit{"kB", 1ULL << 10}, Unit{"MB", 1ULL << 20}, Unit{"GB", 1ULL << 30}};
    const auto size = is_scalar(node) ? measured(node.text, kUnits, 1ULL << 40) : std::nullopt;
    if (!size || *size == 0) refuse(node, key, "a size of at most 1024 GB: 64MB, 10kB or a number of bytes");
    return *size;
}

const std::vector<YamlNode>& read_list(const YamlNode& node, std::string_view key) {
    if (node.kind != YamlNode::Kind::kList || node.items.empty()) refuse(node, key, "a list with one item or more");
    return node.items;
}

}  // namespace cairn
