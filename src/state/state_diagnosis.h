#pragma once

// Finds the reason that a text is not a state. This is a plain reader, byte by byte, that stops at the first error and
// says where it is and what is wrong. It is slow next to `check_json()` and independent of it: the tests compare the
// two.

#include <cairn/state.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

/// Returns the first error of `text` as a state, or nothing if it is one. The code is kInvalidState, or kLimitExceeded
/// for the depth; the caller must check the size. Names the byte offset and the JSON path, never a value.
/// May throw std::bad_alloc.
[[nodiscard]] std::optional<Error> diagnose(std::string_view text, std::uint32_t depth_max);

/// Returns "byte 12 ($.messages[3].content)": the place in a text that is a state.
[[nodiscard]] std::string place_in_state(std::string_view text, std::size_t offset);

}  // namespace cairn
