#pragma once

// The differences of two texts of bytes, as ranges.

#include <cstddef>
#include <string_view>
#include <vector>

namespace cairn {

struct ByteRange {
    std::size_t begin = 0;
    std::size_t end = 0;  ///< Behind the last byte.

    bool is_empty() const { return begin == end; }
    friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

/// A range of the first text, and what stands in its place in the second. One of them may be empty.
struct ByteChange {
    ByteRange before;
    ByteRange after;

    friend bool operator==(const ByteChange&, const ByteChange&) = default;
};

/// The changes that lead from `before` to `after`, in the order of both texts. All bytes between them are equal. There
/// are none if and only if the texts are the same. They are not the fewest: short equal ranges between changes are not
/// looked for, and what moved is a removal and an addition. Of the equal ranges that are found, those stay that have
/// the most bytes together. Cost: linear in both texts, and n log n in the number of equal ranges.
[[nodiscard]] std::vector<ByteChange> diff_bytes(std::string_view before, std::string_view after);

}  // namespace cairn
