#include "replay/tokens.h"

#include <fmt/format.h>

#include <cstddef>
#include <optional>

namespace cairn {
namespace {

constexpr std::string_view kNumberMark = "\xF4\x8F\xA0\x80";  // U+10F800
constexpr std::string_view kEscapeMark = "\xF4\x8F\xA0\x81";  // U+10F801
constexpr std::uint32_t kFirstLoneSurrogate = 0x10F000;
constexpr std::uint32_t kFirstReserved = kFirstLoneSurrogate;
constexpr std::uint32_t kLastReserved = 0x10F801;
constexpr std::size_t kReservedBytes = 4;

char to_lower(char hex_digit) {
    return hex_digit >= 'A' && hex_digit <= 'F' ? static_cast<char>(hex_digit + 32) : hex_digit;
}
bool is_digit(char character) {
    return character >= '0' && character <= '9';
}
bool is_high_surrogate(std::uint32_t unit) {
    return unit >= 0xD800 && unit <= 0xDBFF;
}
bool is_low_surrogate(std::uint32_t unit) {
    return unit >= 0xDC00 && unit <= 0xDFFF;
}
bool is_reserved(std::uint32_t code_point) {
    return code_point >= kFirstReserved && code_point <= kLastReserved;
}

/// Returns the code point of the four-byte UTF-8 sequence at the start of `text`, if it begins like a reserved one.
std::optional<std::uint32_t> reserved_at_start(std::string_view text) {
    if (text.size() < kReservedBytes || !text.starts_with("\xF4\x8F")) return std::nullopt;
    const auto low_bits = [&](std::size_t at) { return static_cast<unsigned char>(text[at]) & 0x3FU; };
    const std::uint32_t code_point = 0x10F000U | low_bits(2) << 6U | low_bits(3);
    if (!is_reserved(code_point)) return std::nullopt;
    return code_point;
}

void append_four_bytes(std::string& out, std::uint32_t code_point) {
    out += static_cast<char>(0xF0U | code_point >> 18U);
    out += static_cast<char>(0x80U | (code_point >> 12U & 0x3FU));
    out += static_cast<char>(0x80U | (code_point >> 6U & 0x3FU));
    out += static_cast<char>(0x80U | (code_point & 0x3FU));
}

/// Returns the unit of a `\uXXXX` escape at the start of `text`.
std::optional<std::uint32_t> unicode_escape(std::string_view text) {
    if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return std::nullopt;
    std::uint32_t unit = 0;
    for (const char digit : text.substr(2, 4)) {
        const std::size_t value = std::string_view("0123456789abcdef").find(to_lower(digit));
        if (value == std::string_view::npos) return std::nullopt;
        unit = unit << 4U | static_cast<std::uint32_t>(value);
    }
    return unit;
}

/// Says whether a library that holds 64-bit integers prints `token` as it is written.
bool prints_as_written(std::string_view token) {
    if (token == "0") return true;
    if (token.starts_with('-')) token.remove_prefix(1);
    return token.size() <= 18 && token.find_first_not_of("0123456789") == std::string_view::npos &&
           !token.starts_with('0');
}

class Shield {
public:
    Shield(std::string_view text, std::uint32_t depth_max) : text_(text), depth_max_(depth_max) {
        out_.reserve(text.size() + text.size() / 16);
    }

    Result<std::string> run() && {
        while (at_ < text_.size()) {
            const char next = text_[at_];
            if (next == '"') {
                string();
            } else if (next == '-' || is_digit(next)) {
                number();
            } else if (!other(next)) {
                return fail(ErrorCode::kLimitExceeded,
                            fmt::format("nested deeper than {} at byte {}", depth_max_, at_));
            }
        }
        return std::move(out_);
    }

private:
    /// Handles white space, punctuation and literals. Returns false if the nesting is too deep.
    bool other(char next) {
        if (next == '{' || next == '[') ++depth_;
        if ((next == '}' || next == ']') && depth_ > 0) --depth_;
        copy(1);
        return depth_ <= depth_max_;
    }

    void number() {
        const std::size_t end = std::min(text_.find_first_not_of("0123456789+-.eE", at_), text_.size());
        const std::string_view token = text_.substr(at_, end - at_);
        if (prints_as_written(token)) {
            out_ += token;
        } else {
            out_ += '"';
            out_ += kNumberMark;
            out_ += token;
            out_ += '"';
        }
        at_ = end;
    }

    void string() {
        copy(1);
        while (at_ < text_.size()) {
            copy(std::min(text_.find_first_of("\"\\\xF4", at_), text_.size()) - at_);
            if (at_ == text_.size()) return;
            if (text_[at_] == '"') return copy(1);
            if (text_[at_] == '\\') {
                escape();
            } else {
                if (reserved_at_start(text_.substr(at_))) out_ += kEscapeMark;
                copy(1);
            }
        }
    }

    void escape() {
        const std::optional<std::uint32_t> unit = unicode_escape(text_.substr(at_));
        if (!unit) return copy(2);
        if (is_high_surrogate(*unit)) {
            const std::optional<std::uint32_t> low = unicode_escape(text_.substr(at_ + 6));
            if (low && is_low_surrogate(*low)) return pair(*unit, *low);
        }
        if (!is_high_surrogate(*unit) && !is_low_surrogate(*unit)) return copy(6);
        append_four_bytes(out_, kFirstLoneSurrogate + (*unit - 0xD800));
        at_ += 6;
    }

    void pair(std::uint32_t high, std::uint32_t low) {
        if (is_reserved(0x10000 + ((high - 0xD800) << 10U) + (low - 0xDC00))) out_ += kEscapeMark;
        copy(12);
    }

    void copy(std::size_t count) {
        out_ += text_.substr(at_, count);
        at_ = std::min(at_ + count, text_.size());
    }

    std::string_view text_;
    std::uint32_t depth_max_;
    std::uint32_t depth_ = 0;
    std::size_t at_ = 0;
    std::string out_;
};

/// Restores the token that `code_point`, at the start of `rest`, stands for. Returns how much of `rest` is done.
std::size_t restore_one(std::string& out, std::uint32_t code_point, std::string_view rest) {
    if (rest.starts_with(kEscapeMark)) {
        out += rest.substr(kReservedBytes, kReservedBytes);
        return 2 * kReservedBytes;
    }
    if (rest.starts_with(kNumberMark)) {
        const std::size_t quote = rest.find('"');
        out.pop_back();  // the quote before the mark
        out += rest.substr(kReservedBytes, quote - kReservedBytes);
        return quote + 1;
    }
    out += fmt::format("\\u{:04x}", code_point - kFirstLoneSurrogate + 0xD800);
    return kReservedBytes;
}

}  // namespace

Result<std::string> shield_tokens(std::string_view text, std::uint32_t depth_max) {
    return Shield(text, depth_max).run();
}

std::string restore_tokens(std::string_view printed) {
    std::string out;
    // Placeholders of surrogates grow by two bytes each. They are rare, and only cost one more allocation.
    out.reserve(printed.size());
    for (std::size_t at = 0; at < printed.size();) {
        const std::size_t next = std::min(printed.find('\xF4', at), printed.size());
        out += printed.substr(at, next - at);
        at = next;
        if (at == printed.size()) break;
        if (const auto code_point = reserved_at_start(printed.substr(at))) {
            at += restore_one(out, *code_point, printed.substr(at));
        } else {
            out += printed[at++];
        }
    }
    return out;
}

}  // namespace cairn
