#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn {

/// Returns `text` as UTF-8, with each other byte replaced by U+FFFD: as many whole characters as fit into `bytes_max`.
std::string readable_text(std::string_view text, std::size_t bytes_max);

}  // namespace cairn
