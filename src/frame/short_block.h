#pragma once

// zstd's block format, written without zstd. A call of zstd has fixed costs of several microseconds: it sets up its
// tables, enters the whole context into them, and counts symbols that are too few to be worth it. For the few new bytes
// of a small change, this takes most of a save's time. Any zstd reads these blocks.
// https://www.rfc-editor.org/rfc/rfc8878

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn {

/// The most bytes that may be in no match. They stay as they are, and zstd has shorter codes for many of them.
inline constexpr std::size_t kShortBlockLiteralsMax = 255;

/// Appends `text`, compressed with `context` before it, to `out`, as one compressed block without its header. Returns
/// false, and leaves `out` as it was, if the block would not be smaller than `text`, if too many bytes are in no match,
/// or if both together are longer than kShortWindowBytesMax (short_matches.h). Only the arguments decide the result.
/// Cost: 2 to 4 µs. Errors: throws std::bad_alloc.
bool compress_short_block(std::string_view context, std::string_view text, std::string& out);

}  // namespace cairn
