#include "pipeline/agents/readable_text.h"

#include "state/utf8.h"

namespace cairn {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::size_t length_by_first_byte(char first) {
    const auto byte = static_cast<unsigned char>(first);
    if (byte < 0xC0) return 1;
    if (byte < 0xE0) return 2;
    return byte < 0xF0 ? 3 : 4;
}

}  // namespace

std::string readable_text(std::string_view text, std::size_t bytes_max) {
    if (text.size() <= bytes_max && is_utf8(text)) return std::string(text);
    std::string readable;
    while (!text.empty()) {
        std::string_view character = text.substr(0, length_by_first_byte(text.front()));
        const bool is_character = is_utf8(character);
        if (!is_character) character = character.substr(0, 1);
        const std::string_view shown = is_character ? character : kReplacement;
        if (readable.size() + shown.size() > bytes_max) break;
        readable += shown;
        text.remove_prefix(character.size());
    }
    return readable;
}

}  // namespace cairn
