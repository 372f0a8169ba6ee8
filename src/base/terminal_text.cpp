#include "base/terminal_text.h"

#include <clocale>
#include <cwchar>

#include <locale.h>  // uselocale

namespace cairn {
namespace {

/// Makes the C library use its Unicode tables, whatever the user's locale is. Affects only this thread, and only during
/// this object's lifetime.
class UnicodeTables {
public:
    UnicodeTables() : before_(tables() == nullptr ? nullptr : ::uselocale(tables())) {}
    ~UnicodeTables() {
        if (before_ != nullptr) ::uselocale(before_);
    }
    UnicodeTables(const UnicodeTables&) = delete;
    UnicodeTables& operator=(const UnicodeTables&) = delete;

private:
    static locale_t tables() {
        static const locale_t kTables = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
        return kTables;
    }

    locale_t before_;
};

bool is_ascii(char c) {
    return static_cast<unsigned char>(c) < 0x80;
}

// Call it only within UnicodeTables.
DisplayedCharacter character_at_front(std::string_view text) {
    if (is_ascii(text.front())) return {.bytes = 1, .columns = 1};
    wchar_t character = 0;
    std::mbstate_t state{};
    const std::size_t bytes = std::mbrtowc(&character, text.data(), text.size(), &state);
    if (bytes == 0 || bytes > text.size()) return {.bytes = 1, .columns = 1};  // not a character
    const int columns = ::wcwidth(character);
    return {.bytes = bytes, .columns = columns < 0 ? 1U : static_cast<std::size_t>(columns)};
}

}  // namespace

DisplayedCharacter first_character(std::string_view text) {
    if (is_ascii(text.front())) return {.bytes = 1, .columns = 1};
    const UnicodeTables tables;
    return character_at_front(text);
}

std::size_t display_width(std::string_view text) {
    const UnicodeTables tables;
    std::size_t columns = 0;
    while (!text.empty()) {
        const DisplayedCharacter character = character_at_front(text);
        columns += character.columns;
        text.remove_prefix(character.bytes);
    }
    return columns;
}

std::string printable(std::string_view text) {
    std::string clean;
    clean.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
        const bool second_set = byte == 0xC2 && next >= 0x80 && next <= 0x9F;  // U+0080 to U+009F, two bytes each
        if (second_set) ++i;
        clean += byte < 0x20 || byte == 0x7F || second_set ? '?' : text[i];
    }
    return clean;
}

std::string shortened(std::string_view text, std::size_t columns) {
    std::size_t width = 0;
    for (std::size_t at = 0; at < text.size();) {
        const DisplayedCharacter character = first_character(text.substr(at));
        width += character.columns;
        if (width > columns) return std::string(text.substr(0, at)) + "…";
        at += character.bytes;
    }
    return std::string(text);
}

}  // namespace cairn
