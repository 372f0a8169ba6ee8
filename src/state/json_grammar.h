#pragma once

// The leaves of the JSON grammar. The fast check, the diagnosis and the look-up of members share them.

#include <cstddef>
#include <string_view>

namespace cairn {

constexpr bool is_white_space(char byte) {
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

constexpr bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

/// -1 if it is not a hexadecimal digit.
constexpr int hex_digit(char byte) {
    if (is_digit(byte)) return byte - '0';
    const char lower = static_cast<char>(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

constexpr bool is_literal(std::string_view token) {
    return token == "true" || token == "false" || token == "null";
}

/// The number of digits at the front of `text`.
constexpr std::size_t digits_at_front(std::string_view text) {
    std::size_t count = 0;
    while (count < text.size() && is_digit(text[count])) ++count;
    return count;
}

/// The bytes of the number at the front of `text`, and whether the number is complete. An incomplete one ("-", "1.",
/// "2e+") can still become a number if the right byte follows.
struct NumberPrefix {
    std::size_t bytes = 0;
    bool complete = false;
};

constexpr NumberPrefix number_at_front(std::string_view text) {
    std::size_t at = !text.empty() && text[0] == '-' ? 1 : 0;
    const auto digits = [&] {
        const std::size_t count = digits_at_front(text.substr(at));
        at += count;
        return count != 0;
    };
    const auto next_is = [&](char byte) { return at < text.size() && text[at] == byte; };

    if (next_is('0')) {
        ++at;  // A leading zero stands alone.
    } else if (!digits()) {
        return {at, false};
    }
    if (next_is('.')) {
        ++at;
        if (!digits()) return {at, false};
    }
    if (next_is('e') || next_is('E')) {
        ++at;
        if (next_is('+') || next_is('-')) ++at;
        if (!digits()) return {at, false};
    }
    return {at, true};
}

/// The bytes of the escape at the front of `text`, which starts with a backslash: 2, 6 for \uXXXX, 0 if it is none.
constexpr std::size_t escape_at_front(std::string_view text) {
    if (text.size() < 2) return 0;
    switch (text[1]) {
        case '"':
        case '\\':
        case '/':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't':
            return 2;
        case 'u':
            break;
        default:
            return 0;
    }
    if (text.size() < 6) return 0;
    for (const char digit : text.substr(2, 4)) {
        if (hex_digit(digit) < 0) return 0;
    }
    return 6;
}

}  // namespace cairn
