#pragma once

// The stored text of an opaque state: one text that frames, checksums, deltas and comparisons treat like any other.
//
// The layout, part of the stored format:
//
//   rest        the bytes
//   1 to 64     the type tag
//   1           the length of the tag
//
// The tag is behind the bytes, so the bytes begin where the buffer does, and a delta finds the tag in the common end. A
// normal text ends with "}" (125), so no text is both.

#include <cairn/error.h>
#include <cairn/state.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn {

constexpr std::size_t kTypeTagBytesMax = 64;
constexpr std::size_t kOpaqueTrailerBytesMax = kTypeTagBytesMax + 1;

/// What the stored text has behind the bytes.
constexpr std::size_t trailer_bytes_of(std::string_view type_tag) noexcept {
    return type_tag.size() + 1;
}

/// Errors: kInvalidArgument (names `field`).
[[nodiscard]] Status check_type_tag(std::string_view field, std::string_view type_tag);

/// Appends the tag to the bytes. The tag must be a valid one.
void append_type_tag(std::string& bytes, std::string_view type_tag);

/// Checks text that comes from a store. Accepted text is that of an opaque state, so all code behind this check may
/// trust it. Errors: kCorrupt (without content).
[[nodiscard]] Status check_opaque_text(std::string_view stored_text);

struct OpaqueText {
    std::string_view bytes;
    std::string_view type_tag;
};

/// The stored text of an opaque state, which was checked, in its parts.
[[nodiscard]] OpaqueText parts_of(std::string_view stored_text) noexcept;

/// Says whether the state is ciphertext, which shares nothing with another and does not get smaller.
[[nodiscard]] bool is_ciphertext(const State& state) noexcept;

/// For code that reads JSON. `what` begins the message: "state_data", "the state of run \"r\"".
/// Errors: kInvalidState if it is opaque.
[[nodiscard]] Status check_is_json(const State& state, std::string_view what);
/// Returns the state that was found or made. Errors: that of the state, and those of `check_is_json`.
[[nodiscard]] Result<State> require_json(Result<State> state, std::string_view what);

}  // namespace cairn
