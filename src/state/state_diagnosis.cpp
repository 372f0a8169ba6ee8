#include "state/state_diagnosis.h"

#include "state/json_grammar.h"
#include "state/json_path.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <vector>

namespace cairn {
namespace {

constexpr std::uint8_t byte_of(char c) {
    return static_cast<std::uint8_t>(c);
}

/// The kind of the token at `offset`: messages never repeat values.
std::string kind_of_token(std::string_view text, std::size_t offset) {
    if (offset >= text.size()) return "the end of the text";
    const std::string_view rest = text.substr(offset);
    for (const std::string_view name : {"NaN", "Infinity", "-Infinity"}) {
        if (rest.starts_with(name)) return std::string(name);
    }
    const char first = rest[0];
    const char lower = static_cast<char>(first | 0x20);
    if (first == '{') return "an object";
    if (first == '[') return "an array";
    if (first == '"') return "a string";
    if (first == '-' || is_digit(first)) return "a number";
    if (lower >= 'a' && lower <= 'z') return "a bare word";
    if (first > ' ' && byte_of(first) < 0x7F) return fmt::format("'{}'", first);
    return fmt::format("byte 0x{:02X}", byte_of(first));
}

/// The bytes of the UTF-8 character at the front of `text` (RFC 3629), 0 if there is none.
std::size_t character_at_front(std::string_view text) {
    const std::uint8_t lead = byte_of(text[0]);
    if (lead < 0x80) return 1;
    const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return 0;
    // The second byte's range is narrower after four leads: no overlong forms, no surrogates, nothing over U+10FFFF.
    const std::uint8_t second = byte_of(text[1]);
    const std::uint8_t second_min = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const std::uint8_t second_max = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (second < second_min || second > second_max) return 0;
    for (std::size_t i = 2; i < bytes; ++i) {
        if ((byte_of(text[i]) & 0xC0) != 0x80) return 0;
    }
    return bytes;
}

class Reader {
public:
    Reader(std::string_view text, std::uint32_t depth_max) : text_(text), depth_max_(depth_max) {}

    /// Reads until the first error, the end, or the first token that reaches `stop`.
    void read(std::size_t stop) {
        read_start();
        while (!error_ && at_ < stop) {
            skip_white_space();
            if (path_.empty() && at_ == text_.size()) return;
            read_token();
        }
    }

    std::optional<Error> error() && { return std::move(error_); }

    std::string place(std::size_t offset) const { return fmt::format("byte {} ({})", offset, json_path(path_)); }

private:
    enum class Expected : std::uint8_t { kValue, kValueOrEnd, kKey, kKeyOrEnd, kColon, kCommaOrEnd, kNothing };

    void read_start() {
        if (text_.starts_with("\xEF\xBB\xBF")) {
            error_ = Error{ErrorCode::kInvalidState, "a state is a JSON object; found a byte order mark at byte 0"};
            return;
        }
        skip_white_space();
        if (at_ < text_.size() && text_[at_] == '{') return open(true);
        const std::string found = text_.empty()         ? "nothing: the text is empty"
                                  : at_ == text_.size() ? fmt::format("only white space in {} bytes", at_)
                                                        : fmt::format("{} at byte {}", kind_of_token(text_, at_), at_);
        error_ = Error{ErrorCode::kInvalidState, "a state is a JSON object; found " + found};
    }

    void read_token() {
        switch (expected_) {
            case Expected::kValue:
            case Expected::kValueOrEnd:
                return read_value();
            case Expected::kKey:
            case Expected::kKeyOrEnd:
                return read_key();
            case Expected::kColon:
                if (!take(':')) return refuse_token("':' after the key");
                expected_ = Expected::kValue;
                return;
            case Expected::kCommaOrEnd:
                return read_comma_or_end();
            case Expected::kNothing:
                return refuse_token("the end of the text after the object");
        }
    }

    void read_value() {
        if (expected_ == Expected::kValueOrEnd && take(']')) return close();
        const char first = at_ < text_.size() ? text_[at_] : '\0';
        if (first == '{' || first == '[') return open(first == '{');
        if (first == '"') {
            read_string();
        } else if (first == '-' || is_digit(first)) {
            read_number();
        } else if (!read_literal()) {
            return refuse_token(expected_ == Expected::kValueOrEnd ? "a value or ']'" : "a value");
        }
        expected_ = Expected::kCommaOrEnd;
    }

    void read_key() {
        if (expected_ == Expected::kKeyOrEnd && take('}')) return close();
        if (at_ >= text_.size() || text_[at_] != '"') {
            return refuse_token(expected_ == Expected::kKeyOrEnd ? "a key in quotes or '}'" : "a key in quotes");
        }
        const std::size_t begin = at_ + 1;
        read_string();
        if (error_) return;
        path_.back().key = text_.substr(begin, at_ - 1 - begin);
        path_.back().has_key = true;
        expected_ = Expected::kColon;
    }

    void read_comma_or_end() {
        JsonPathStep& step = path_.back();
        if (take(step.into_object ? '}' : ']')) return close();
        if (!take(',')) return refuse_token(step.into_object ? "',' or '}'" : "',' or ']'");
        expected_ = step.into_object ? Expected::kKey : Expected::kValue;
        step.has_key = false;
        ++step.index;
    }

    void open(bool is_object) {
        if (path_.size() >= depth_max_) {
            error_ = Error{
                ErrorCode::kLimitExceeded,
                fmt::format("nested deeper than depth_max={} (CAIRN_STATE_DEPTH_MAX) at {}", depth_max_, place(at_))};
            return;
        }
        ++at_;
        path_.push_back({.into_object = is_object});
        expected_ = is_object ? Expected::kKeyOrEnd : Expected::kValueOrEnd;
    }

    void close() {
        path_.pop_back();
        expected_ = path_.empty() ? Expected::kNothing : Expected::kCommaOrEnd;
    }

    void read_string() {
        ++at_;
        while (at_ < text_.size() && text_[at_] != '"') {
            if (!read_character()) return;
        }
        if (at_ == text_.size()) return refuse("the text ends inside a string");
        ++at_;
    }

    bool read_character() {
        const std::string_view rest = text_.substr(at_);
        std::size_t bytes = 0;
        if (byte_of(rest[0]) < 0x20) {
            refuse(fmt::format("raw control character 0x{:02X} in a string (write it as an escape)", byte_of(rest[0])));
        } else if (rest[0] == '\\') {
            bytes = escape_at_front(rest);
            if (bytes == 0) refuse("bad escape in a string (accepted: \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX)");
        } else {
            bytes = character_at_front(rest);
            if (bytes == 0) refuse(fmt::format("byte 0x{:02X} in a string is not UTF-8", byte_of(rest[0])));
        }
        at_ += bytes;
        return bytes != 0;
    }

    void read_number() {
        const std::string_view rest = text_.substr(at_);
        if (rest.starts_with("-Infinity")) return refuse_token("a value");
        const NumberPrefix number = number_at_front(rest);
        const std::size_t begin = at_;
        at_ += number.bytes;
        if (!number.complete) return refuse("a digit is missing in a number");
        const bool leading_zero = text_.substr(begin, number.bytes).ends_with('0') && number.bytes <= 2;
        if (leading_zero && at_ < text_.size() && is_digit(text_[at_])) refuse("a number starts with a needless zero");
    }

    bool read_literal() {
        for (const std::string_view literal : {"true", "false", "null"}) {
            if (!text_.substr(at_).starts_with(literal)) continue;
            at_ += literal.size();
            return true;
        }
        return false;
    }

    bool take(char byte) {
        if (at_ >= text_.size() || text_[at_] != byte) return false;
        ++at_;
        return true;
    }

    void skip_white_space() {
        while (at_ < text_.size() && is_white_space(text_[at_])) ++at_;
    }

    void refuse_token(std::string_view wanted) {
        refuse(fmt::format("expected {}, found {}", wanted, kind_of_token(text_, at_)));
    }

    void refuse(std::string_view what) {
        error_ = Error{ErrorCode::kInvalidState, fmt::format("not JSON at {}: {}", place(at_), what)};
    }

    std::string_view text_;
    std::uint32_t depth_max_;
    std::size_t at_ = 0;
    Expected expected_ = Expected::kValue;
    std::vector<JsonPathStep> path_;
    std::optional<Error> error_;
};

}  // namespace

std::optional<Error> diagnose(std::string_view text, std::uint32_t depth_max) {
    Reader reader(text, depth_max);
    reader.read(std::numeric_limits<std::size_t>::max());
    return std::move(reader).error();
}

std::string place_in_state(std::string_view text, std::size_t offset) {
    Reader reader(text, std::numeric_limits<std::uint32_t>::max());
    reader.read(offset);
    return reader.place(offset);
}

}  // namespace cairn
