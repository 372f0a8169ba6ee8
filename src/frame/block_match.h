#pragma once

// What two texts have in common, found at memory speed.

#include <cstddef>
#include <string_view>
#include <vector>

namespace cairn {

/// A part of a text: some bytes of its own, then a range of the base.
struct Copy {
    std::size_t literal_bytes = 0;
    std::size_t source = 0;  ///< Where the range begins in the base.
    std::size_t bytes = 0;

    friend bool operator==(const Copy&, const Copy&) = default;
};

std::size_t common_prefix_bytes(std::string_view left, std::string_view right) noexcept;
std::size_t common_suffix_bytes(std::string_view left, std::string_view right) noexcept;

/// Describes `text` by ranges of `base`, in the order of the text. The first is their common prefix, with no literal
/// bytes; the last is their common suffix; both may be empty. There are always these two. The ranges between are found
/// by hash, so not all that is equal is found, but all that is said is equal. Depends on the two texts only.
/// Cost: linear in both, whatever they hold.
void find_copies(std::string_view base, std::string_view text, std::vector<Copy>& copies);

}  // namespace cairn
