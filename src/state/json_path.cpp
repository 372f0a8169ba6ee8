#include "state/json_path.h"

#include "state/json_grammar.h"

#include <fmt/format.h>

#include <algorithm>

namespace cairn {
namespace {

constexpr std::size_t kKeyBytesMax = 48;
constexpr std::size_t kStepsShownAtEachEnd = 8;

bool is_plain_name(std::string_view key) {
    const auto is_letter = [](char byte) {
        const char lower = static_cast<char>(byte | 0x20);
        return (lower >= 'a' && lower <= 'z') || byte == '_';
    };

    return !key.empty() && is_letter(key[0]) &&
           std::ranges::all_of(key, [&](char byte) { return is_letter(byte) || is_digit(byte); });
}

/// Cuts between characters, not inside one.
std::string shortened(std::string_view key) {
    if (key.size() <= kKeyBytesMax) return std::string(key);
    std::size_t end = kKeyBytesMax;
    while (end > 0 && (static_cast<unsigned char>(key[end]) & 0xC0) == 0x80) --end;
    return fmt::format("{}…", key.substr(0, end));
}

std::string step_text(const JsonPathStep& step) {
    if (!step.into_object) return fmt::format("[{}]", step.index);
    if (!step.has_key) return "";
    const std::string key = shortened(step.key);
    return is_plain_name(step.key) ? fmt::format(".{}", key) : fmt::format("[\"{}\"]", key);
}

}  // namespace

std::string json_path(std::span<const JsonPathStep> steps) {
    std::string path = "$";
    for (std::size_t i = 0; i < steps.size(); ++i) {
        if (i == kStepsShownAtEachEnd && steps.size() > 2 * kStepsShownAtEachEnd) {
            i = steps.size() - kStepsShownAtEachEnd;
            path += "…";
        }
        path += step_text(steps[i]);
    }
    return path;
}

}  // namespace cairn
