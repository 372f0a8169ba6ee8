#pragma once

// The matches of a short text: which of its bytes stand before it or earlier in it. See short_block.h.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace cairn {

/// New bytes, then a match: so many bytes, which also stand `distance` before. A match may reach into itself.
struct Sequence {
    std::uint32_t literal_bytes = 0;
    std::uint32_t distance = 0;
    std::uint32_t bytes = 0;  ///< At least 3.
};

/// The longest window.
inline constexpr std::size_t kShortWindowBytesMax = 8U << 10;

/// Finds the sequences of the text that begins at `text_begin` of the window, behind its context. Bytes after the last
/// match are in none. Returns the number of all bytes that are in no match; nothing if they are more than
/// `literal_bytes_max`, or if there is no match. Only the arguments decide the result. The text must have at least 8
/// bytes. Errors: throws std::bad_alloc.
std::optional<std::size_t> find_short_matches(std::string_view window, std::size_t text_begin,
                                              std::size_t literal_bytes_max, std::vector<Sequence>& sequences);

}  // namespace cairn
