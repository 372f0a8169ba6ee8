#include "state/state_members.h"

#include <cairn/state.h>

#include "state/json_grammar.h"

#include <algorithm>
#include <array>
#include <cstdint>

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

bool ends_value(char byte) {
    return byte == ',' || byte == '}' || byte == ']';
}

/// The bytes of the value at the front of `text`, which is normal text.
std::size_t value_bytes(std::string_view text) {
    std::size_t depth = 0;
    for (std::size_t at = 0; at < text.size();) {
        const char byte = text[at];
        if (depth == 0 && ends_value(byte)) return at;
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

/// A character in UTF-8, or a lone surrogate encoded in the same way.
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

/// Removes the escape at the front of `raw` and returns its meaning; nothing if there is none.
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
    if (high > 0xDBFF || !raw.starts_with("\\u") || escape_at_front(raw) == 0) return utf8_of(high);
    const std::uint32_t low = code_unit(raw.substr(2, 4));
    if (low < 0xDC00 || low > 0xDFFF) return utf8_of(high);
    raw.remove_prefix(6);
    return utf8_of(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
}

std::string_view take(std::string_view& text, std::size_t bytes) {
    const std::string_view taken = text.substr(0, bytes);
    text.remove_prefix(taken.size());
    return taken;
}

/// A value that starts with a whole other value, and ends there, is that value.
std::string_view take_value_at_front(std::string_view& text, std::string_view guess) {
    const bool is_guessed =
        !guess.empty() && guess.size() < text.size() && ends_value(text[guess.size()]) && text.starts_with(guess);
    return take(text, is_guessed ? guess.size() : value_bytes(text));
}

/// `rest` starts with the opening bracket or with a comma.
bool has_next(std::string_view rest) {
    constexpr std::size_t kEmptyBytes = 2;
    return rest.size() > kEmptyBytes;
}

std::string_view without_quotes(std::string_view key) {
    return key.size() < 2 ? std::string_view() : key.substr(1, key.size() - 2);
}

bool is_escaped(std::string_view key) {
    return key.contains('\\');
}

}  // namespace

std::optional<std::string_view> MemberReader::next_key() {
    if (!has_next(rest_)) return std::nullopt;
    rest_.remove_prefix(1);
    const std::string_view key = take(rest_, string_bytes(rest_));
    take(rest_, 1);  // The colon.
    return key;
}

std::string_view MemberReader::take_value(std::string_view guess) {
    return take_value_at_front(rest_, guess);
}

std::optional<std::string_view> ElementReader::next(std::string_view guess) {
    if (!has_next(rest_)) return std::nullopt;
    rest_.remove_prefix(1);
    return take_value_at_front(rest_, guess);
}

std::string unescaped_key(std::string_view key) {
    std::string_view raw = without_quotes(key);
    std::string meaning;
    while (true) {
        meaning += take(raw, std::min(raw.find('\\'), raw.size()));
        const Utf8 character = raw.empty() ? Utf8{} : take_escape(raw);
        if (character.size == 0) return meaning;
        meaning += character.view();
    }
}

bool key_means(std::string_view key, std::string_view meaning) {
    std::string_view raw = without_quotes(key);
    while (true) {
        const std::string_view plain = take(raw, std::min(raw.find('\\'), raw.size()));
        if (!meaning.starts_with(plain)) return false;
        meaning.remove_prefix(plain.size());
        if (raw.empty()) return meaning.empty();
        const Utf8 character = take_escape(raw);
        if (character.size == 0 || !meaning.starts_with(character.view())) return false;
        meaning.remove_prefix(character.size);
    }
}

std::size_t KeyNumbers::add(std::string_view key) {
    if (const auto known = find(key)) return *known;
    const std::size_t number = numbers_.size();
    numbers_.emplace(is_escaped(key) ? unescaped_.emplace_back(unescaped_key(key)) : without_quotes(key), number);
    return number;
}

std::optional<std::size_t> KeyNumbers::find(std::string_view key) const {
    const auto found =
        is_escaped(key) ? numbers_.find(std::string_view(unescaped_key(key))) : numbers_.find(without_quotes(key));
    return found == numbers_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::string_view> member_of(std::string_view object, std::string_view key) {
    std::optional<std::string_view> found;
    MemberReader members(object);
    while (const auto written = members.next_key()) {
        const std::string_view value = members.take_value();
        if (key_means(*written, key)) found = value;
    }
    return found;
}

std::optional<std::string_view> State::member(std::string_view key) const {
    if (is_opaque()) return std::nullopt;
    return member_of(text(), key);
}

}  // namespace cairn
