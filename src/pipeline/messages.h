#pragma once

// What the messages about pipelines have in common.

#include <span>
#include <string>
#include <string_view>

namespace cairn {

/// In quotes, bounded, and without what would garble a terminal.
[[nodiscard]] std::string in_quotes(std::string_view text);

/// `"a", "b" and "c"`; of many the first few, and how many more.
[[nodiscard]] std::string quoted_list(std::span<const std::string> texts);

}  // namespace cairn
