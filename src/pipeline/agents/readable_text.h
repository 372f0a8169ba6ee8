#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace cairn {

/// `text` as UTF-8, each byte that is none replaced by U+FFFD; whole characters of at most `bytes_max` bytes in all.
std::string readable_text(std::string_view text, std::size_t bytes_max);

}  // namespace cairn
