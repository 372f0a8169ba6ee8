#pragma once

#include <cairn/checksum.h>
#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

/// Limits on one state. Both are inclusive maxima; exceeding one is `kLimitExceeded`.
struct StateLimits {
    static constexpr std::uint64_t kBytesMaxUpper = 0xFFFF'FFFFULL - 64;  ///< No limit can be set higher (4 GiB).

    std::uint64_t bytes_max = 64ULL << 20;  ///< Size of the text as given; of an opaque state, of its bytes.
    std::uint32_t depth_max = 1024;         ///< Nested objects and arrays; the outermost object is depth 1.
};

/// One agent state: a JSON object, or an opaque state. A loaded state is byte for byte the saved one.
///  - A JSON object is held as its *normal text*: the given text without insignificant white space. Every token (digits
///    of numbers, escapes in strings) and the order and repetition of keys stay as written.
///  - An *opaque state* is bytes with a type tag, both of the caller's choice. The bytes are never interpreted,
///    need not be text, and may be empty. Two opaque states are equal if their tags and their bytes are the same. None
///    is equal to a JSON object.
///
/// Threads: immutable; any number of threads may read one State or copies of it.
/// Cost: copying shares the text (a reference count). Parsing validates at memory speed and copies the text once;
///   the overload that takes `std::string&&` keeps the caller's buffer when it is already normal text.
class State {
public:
    /// The empty object, `{}`.
    State();

    /// Accepts exactly one JSON object in UTF-8 (RFC 8259), surrounded by optional white space. Accepted as written:
    /// lone surrogate escapes, `\u0000`, integers and exponents of any size, duplicate keys.
    /// Errors: kInvalidState (message names the byte offset and, where known, the JSON path: never content of the
    ///   state), kLimitExceeded (bytes or depth; names limit and offset).
    static Result<State> parse(std::string_view text, const StateLimits& limits = {});
    static Result<State> parse(std::string&& text, const StateLimits& limits = {});
    static Result<State> parse(const char* text, const StateLimits& limits = {}) {
        return parse(std::string_view(text), limits);
    }

    /// Takes text that is known to be normal text, without checking it: a decoded frame (its checksum was verified), or
    /// the output of a trusted serialiser. Any other text makes a State that breaks its promises.
    static State from_normal_text(std::string&& text);

    /// Makes an opaque state. `type_tag` says what the bytes are ("msgpack"): 1 to 64 printable ASCII characters
    /// without spaces. A tag with a "+" in it ("msgpack+aes") says that they are ciphertext: they are stored as they
    /// are, since looking for what they share with an earlier state would find nothing. The overload that takes
    /// `std::string&&` keeps the caller's buffer if it has room for the tag (65 bytes are always enough), and copies
    /// the bytes otherwise. Errors: kInvalidArgument (the tag), kLimitExceeded (bytes), kInternal (memory).
    static Result<State> opaque(std::string_view type_tag, std::string_view bytes, const StateLimits& limits = {});
    static Result<State> opaque(std::string_view type_tag, std::string&& bytes, const StateLimits& limits = {});

    /// The same as `from_normal_text`, for the stored text of an opaque state. Of any other text it is undefined.
    static State from_opaque_text(std::string&& stored_text);

    bool is_opaque() const noexcept { return trailer_bytes_ != 0; }
    /// Empty for a JSON object.
    std::string_view type_tag() const noexcept {
        return is_opaque() ? stored_text().substr(size_bytes(), trailer_bytes_ - 1) : std::string_view();
    }

    /// The normal text, or the bytes of an opaque state.
    std::string_view text() const noexcept { return stored_text().substr(0, size_bytes()); }
    /// The size of `text()`.
    std::size_t size_bytes() const noexcept { return text_->size() - trailer_bytes_; }

    /// What frames hold: the normal text, or an opaque state's bytes with its tag behind them. No normal text is the
    /// stored text of an opaque state.
    std::string_view stored_text() const noexcept { return *text_; }

    /// Of the stored text. Computed at each call, at 7 GB/s or more: keep the result if you need it twice.
    Checksum checksum() const noexcept { return Checksum::of(*text_); }

    /// The normal text of a top-level member's value ("\"x\"", "12", "{…}"), or nothing. `key` is the unescaped key;
    /// a key that is written with escapes is found by its meaning. Of duplicate keys the last wins, as in most
    /// readers. Each call scans the text: use it for a handful of look-ups, not for a loop over keys. An opaque state
    /// has no members.
    std::optional<std::string_view> member(std::string_view key) const;

    /// Two states are equal if their stored texts are the same, byte for byte. Another order of keys, `1` for `1.0`, or
    /// another type tag makes another state.
    friend bool operator==(const State& left, const State& right) {
        return left.trailer_bytes_ == right.trailer_bytes_ &&
               (left.text_ == right.text_ || *left.text_ == *right.text_);
    }

private:
    explicit State(std::shared_ptr<const std::string> text, std::size_t trailer_bytes = 0)
        : text_(std::move(text)), trailer_bytes_(trailer_bytes) {}

    std::shared_ptr<const std::string> text_;
    std::size_t trailer_bytes_ = 0;  ///< Behind an opaque state's bytes; 0: it is JSON.
};

}  // namespace cairn
