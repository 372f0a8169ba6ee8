#pragma once

// Saves a state that the store did not take in a file of its own in the working folder.

#include <cairn/error.h>

#include <string>
#include <string_view>

namespace cairn::cli {

/// Writes `text` to a new file, on disk on return, that only its owner may read: "cairn-RUN.json", or
/// "cairn-RUN~2.json" and so on if it exists already. Nothing is ever replaced. Two runs never share a name. Returns
/// the name. Errors: kReadOnly, kStorageFull, kUnavailable (nothing is left behind).
[[nodiscard]] Result<std::string> rescue(std::string_view text, std::string_view run_id);

/// Returns the name without number and ending. Characters other than letters, digits, "-", "_" and "." are written as
/// %2F. In a name that is too long for a file, a checksum replaces the rest.
std::string rescue_name(std::string_view run_id);

}  // namespace cairn::cli
