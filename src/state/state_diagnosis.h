#pragma once

// Why a text is not a state: a plain reader, byte by byte, that stops at the first error and says where and what.
// Slow next to `check_json()` and independent of it: the tests hold the two against each other.

#include <cairn/state.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

/// The first error of `text` as a state, or nothing if it is one. kInvalidState, or kLimitExceeded for the depth; the
/// size is the caller's to check. Names the byte offset and the JSON path, never a value.
/// May throw std::bad_alloc.
[[nodiscard]] std::optional<Error> diagnose(std::string_view text, std::uint32_t depth_max);

/// "byte 12 ($.messages[3].content)": the place in a text that is a state.
[[nodiscard]] std::string place_in_state(std::string_view text, std::size_t offset);

}  // namespace cairn
