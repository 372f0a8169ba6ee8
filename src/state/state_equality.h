#pragma once

#include "state/token_tree.h"

#include <cstdint>
#include <string_view>

namespace cairn {

/// Whether two values, given as normal text, are the same JSON: the keys of objects in any order, tokens compared as
/// written, order among duplicates of one key kept. Texts of different length never are. Nearly free unless the texts
/// are permutations of each other. Out of memory: false.
[[nodiscard]] bool json_equal(std::string_view left, std::string_view right) noexcept;

/// The same of two values in trees that are there already, each by its first token. May throw std::bad_alloc.
[[nodiscard]] bool json_equal(const TokenTree& left, std::uint32_t left_value, const TokenTree& right,
                              std::uint32_t right_value);

}  // namespace cairn
