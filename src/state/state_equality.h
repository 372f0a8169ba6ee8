#pragma once

#include <string_view>

namespace cairn {

/// Whether two values, given as normal text, are the same JSON as `State` means it: the keys of objects in any order,
/// tokens compared as written. Nearly free unless the texts are permutations of each other. Out of memory: false.
[[nodiscard]] bool json_equal(std::string_view left, std::string_view right) noexcept;

}  // namespace cairn
