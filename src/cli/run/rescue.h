#pragma once

// Where a state goes that could not be saved: a file of its own in the working folder.

#include <cairn/error.h>

#include <string>
#include <string_view>

namespace cairn::cli {

/// Writes `text` to a new file, on disk when this returns, that only its owner may read: "cairn-RUN.json", or
/// "cairn-RUN~2.json" and so on if there is one already: nothing is ever replaced. Of two runs' names none is the same.
/// Returns the name. Errors: kReadOnly, kStorageFull, kUnavailable (nothing is left behind).
[[nodiscard]] Result<std::string> rescue(std::string_view text, std::string_view run_id);

/// The name without number and ending: what is no letter, digit, "-", "_" or "." is written %2F, and of one that is too
/// long for a file a checksum stands for the rest.
std::string rescue_name(std::string_view run_id);

}  // namespace cairn::cli
