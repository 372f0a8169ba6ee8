#pragma once

// Finds the common parts of two texts at memory speed.

#include <cstddef>
#include <string_view>
#include <vector>

namespace cairn {

/// A part of a text: some bytes of its own, then a range of the base.
struct Copy {
    std::size_t literal_bytes = 0;
    std::size_t source = 0;  ///< Start of the range in the base.
    std::size_t bytes = 0;

    friend bool operator==(const Copy&, const Copy&) = default;
};

std::size_t common_prefix_bytes(std::string_view left, std::string_view right) noexcept;
std::size_t common_suffix_bytes(std::string_view left, std::string_view right) noexcept;

/// Describes `text` by ranges of `base`, in the order of the text. The first is their common prefix, with no literal
/// bytes; the last is their common suffix. These two are always there, and may be empty. The ranges between are found
/// by hash, so some equal ranges are missed, but every reported range is equal. Only the texts decide the result.
/// Cost: linear in both, whatever they contain.
void find_copies(std::string_view base, std::string_view text, std::vector<Copy>& copies);

}  // namespace cairn
