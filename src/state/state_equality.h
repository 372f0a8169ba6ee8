#pragma once

#include <string_view>

namespace cairn {

/// Whether two values, given as normal text, are the same JSON: the keys of objects in any order, tokens compared as
/// written, order among duplicates of one key kept. Texts of different length never are. Nearly free unless the texts
/// are permutations of each other. Out of memory: false.
[[nodiscard]] bool json_equal(std::string_view left, std::string_view right) noexcept;

}  // namespace cairn
