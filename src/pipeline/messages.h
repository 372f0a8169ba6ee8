#pragma once

// The common parts of messages about pipelines.

#include <span>
#include <string>
#include <string_view>

namespace cairn {

/// Returns the text in quotes, bounded, and without characters that would garble a terminal.
[[nodiscard]] std::string in_quotes(std::string_view text);

/// Returns `"a", "b" and "c"`; of many texts only the first few, and how many more there are.
[[nodiscard]] std::string quoted_list(std::span<const std::string> texts);

}  // namespace cairn
