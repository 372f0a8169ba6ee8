#pragma once

#include <cairn/error.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

// A JSON library changes what it reads: lone surrogate escapes are refused, integers beyond 64 bits become doubles, and
// doubles are printed anew. Real agents write all of these, and a replay must save exactly what was recorded. So tokens
// that would not survive are shielded before the library reads the text, and restored in its output:
//  - a lone surrogate escape becomes one private code point (U+10F000 to U+10F7FF);
//  - a number that is not a short plain integer becomes a string: U+10F800, then the token;
//  - these code points themselves, where the text has them, are preceded by U+10F801.

/// Returns `text` with its tokens shielded. It does not check that the text is JSON; the library does.
/// Errors: kLimitExceeded (nested deeper than `depth_max`: libraries print recursively).
[[nodiscard]] Result<std::string> shield_tokens(std::string_view text, std::uint32_t depth_max);

/// The reverse, for text printed compactly by a library, with non-ASCII unescaped. The result's capacity is exact.
[[nodiscard]] std::string restore_tokens(std::string_view printed);

}  // namespace cairn
