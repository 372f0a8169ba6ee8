#include "pipeline/messages.h"

#include "state/utf8.h"

#include <fmt/format.h>

#include <algorithm>

namespace cairn {
namespace {

constexpr std::size_t kShownBytesMax = 64;
constexpr std::size_t kListedMax = 8;

bool is_tail_of_character(char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) == 0x80;
}

}  // namespace

std::string in_quotes(std::string_view text) {
    std::size_t end = std::min(text.size(), kShownBytesMax);
    while (end > 0 && end < text.size() && is_tail_of_character(text[end])) --end;
    std::string shown(text.substr(0, end));
    const bool is_text = is_utf8(shown);
    std::ranges::replace_if(
        shown,
        [&](char c) {
            const auto byte = static_cast<unsigned char>(c);
            return byte < 0x20 || byte == 0x7F || (byte > 0x7F && !is_text);
        },
        '?');
    return fmt::format("\"{}{}\"", shown, end < text.size() ? "…" : "");
}

std::string quoted_list(std::span<const std::string> texts) {
    const std::size_t shown = texts.size() > kListedMax ? kListedMax : texts.size();
    std::string list;
    for (std::size_t i = 0; i < shown; ++i) {
        const bool is_last = i + 1 == texts.size();
        list += i == 0 ? "" : is_last ? " and " : ", ";
        list += in_quotes(texts[i]);
    }
    if (shown < texts.size()) list += fmt::format(" and {} more", texts.size() - shown);
    return list;
}

}  // namespace cairn
