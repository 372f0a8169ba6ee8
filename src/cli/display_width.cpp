#include "cli/display_width.h"

#include <clocale>
#include <cwchar>

#include <locale.h>  // uselocale

namespace cairn::cli {
namespace {

/// The C library's tables of Unicode, whatever the user's locale is. Only this thread's, and only for as long.
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

// Within UnicodeTables.
DisplayedCharacter character_at_front(std::string_view text) {
    if (is_ascii(text.front())) return {.bytes = 1, .columns = 1};
    wchar_t character = 0;
    std::mbstate_t state{};
    const std::size_t bytes = std::mbrtowc(&character, text.data(), text.size(), &state);
    if (bytes == 0 || bytes > text.size()) return {.bytes = 1, .columns = 1};  // no character
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

}  // namespace cairn::cli
