// The look-up of a top-level member: one scan over the normal text, without allocation.

#include <cairn/state.h>

#include "state/json_grammar.h"

#include <algorithm>
#include <array>

namespace cairn {
namespace {

/// The bytes of the string at the front of `text`, quotes included.
std::size_t string_bytes(std::string_view text) {
    for (std::size_t quote = text.find('"', 1); quote != text.npos; quote = text.find('"', quote + 1)) {
        std::size_t backslashes = 0;  // The opening quote ends the count at the latest.
        while (text[quote - 1 - backslashes] == '\\' && backslashes + 1 < quote) ++backslashes;
        if (backslashes % 2 == 0) return quote + 1;
    }
    return text.size();
}

/// The bytes of the value at the front of `text`, which is normal text.
std::size_t value_bytes(std::string_view text) {
    std::size_t depth = 0;
    for (std::size_t at = 0; at < text.size();) {
        const char byte = text[at];
        if (depth == 0 && (byte == ',' || byte == '}')) return at;
        at += byte == '"' ? string_bytes(text.substr(at)) : 1;
        if (byte == '{' || byte == '[') ++depth;
        if (byte == '}' || byte == ']') --depth;
    }
    return text.size();
}

std::uint32_t code_unit(std::string_view hex) {
    std::uint32_t value = 0;
    for (const char digit : hex) value = value * 16 + static_cast<std::uint32_t>(hex_digit(digit));
    return value;
}

/// A character in UTF-8.
struct Utf8 {
    std::array<char, 4> bytes{};
    std::size_t size = 0;

    std::string_view view() const { return {bytes.data(), size}; }
};

Utf8 utf8_of(std::uint32_t code_point) {
    const auto tail = [&](int shift) { return static_cast<char>(0x80 | (code_point >> shift & 0x3F)); };
    const auto lead = [&](std::uint32_t mark, int shift) { return static_cast<char>(mark | code_point >> shift); };
    if (code_point < 0x80) return {{lead(0, 0)}, 1};
    if (code_point < 0x800) return {{lead(0xC0, 6), tail(0)}, 2};
    if (code_point < 0x10000) return {{lead(0xE0, 12), tail(6), tail(0)}, 3};
    return {{lead(0xF0, 18), tail(12), tail(6), tail(0)}, 4};
}

/// Takes the escape at the front of `raw` off and returns what it means; nothing for a lone surrogate, which is no
/// character.
Utf8 take_escape(std::string_view& raw) {
    if (escape_at_front(raw) == 0) return {};
    const char letter = raw[1];
    if (letter != 'u') {
        raw.remove_prefix(2);
        constexpr std::string_view kLetters = "bfnrt";
        const std::size_t which = kLetters.find(letter);
        return utf8_of(static_cast<unsigned char>(which == kLetters.npos ? letter : "\b\f\n\r\t"[which]));
    }
    const std::uint32_t high = code_unit(raw.substr(2, 4));
    raw.remove_prefix(6);
    if (high < 0xD800 || high > 0xDFFF) return utf8_of(high);
    if (high > 0xDBFF || !raw.starts_with("\\u") || escape_at_front(raw) == 0) return {};
    const std::uint32_t low = code_unit(raw.substr(2, 4));
    if (low < 0xDC00 || low > 0xDFFF) return {};
    raw.remove_prefix(6);
    return utf8_of(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
}

/// Whether the key that is written as `raw` (without quotes) means `key`.
bool means(std::string_view raw, std::string_view key) {
    while (true) {
        const std::size_t plain_bytes = std::min(raw.find('\\'), raw.size());
        if (!key.starts_with(raw.substr(0, plain_bytes))) return false;
        raw.remove_prefix(plain_bytes);
        key.remove_prefix(plain_bytes);
        if (raw.empty()) return key.empty();
        const Utf8 character = take_escape(raw);
        if (character.size == 0 || !key.starts_with(character.view())) return false;
        key.remove_prefix(character.size);
    }
}

}  // namespace

std::optional<std::string_view> State::member(std::string_view key) const {
    std::optional<std::string_view> found;
    std::string_view rest = text();
    while (rest.size() > 2) {
        rest.remove_prefix(1);  // The opening brace or a comma.
        const std::string_view quoted = rest.substr(0, string_bytes(rest));
        rest.remove_prefix(std::min(quoted.size() + 1, rest.size()));
        const std::string_view value = rest.substr(0, value_bytes(rest));
        rest.remove_prefix(value.size());
        if (means(quoted.substr(1, quoted.size() - 2), key)) found = value;
    }
    return found;
}

}  // namespace cairn
