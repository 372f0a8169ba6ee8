#pragma once

#include "state/token_tree.h"

#include <cstdint>
#include <string_view>

namespace cairn {

/// Says whether two values, given as normal text, are the same JSON: keys of objects in any order, tokens compared as
/// written, duplicates of one key in the same order. Texts of different length are never equal. Nearly free unless the
/// texts are permutations of each other. Returns false if memory runs out.
[[nodiscard]] bool json_equal(std::string_view left, std::string_view right) noexcept;

/// Does the same for two values in existing trees, each given by its first token. May throw std::bad_alloc.
[[nodiscard]] bool json_equal(const TokenTree& left, std::uint32_t left_value, const TokenTree& right,
                              std::uint32_t right_value);

}  // namespace cairn
