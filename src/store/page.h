#pragma once

// Pages of a list: a store reads one item more than a page may have, to know whether it is the last page.

#include <cstddef>
#include <limits>
#include <vector>

namespace cairn {

/// Returns `limit + 1`, or `limit` if that is the largest number.
constexpr std::size_t one_more_than(std::size_t limit) {
    return limit == std::numeric_limits<std::size_t>::max() ? limit : limit + 1;
}

/// Cuts `items` to the first `limit`. Returns true if there were more, and a last item to go on from.
template <class Item>
bool cut(std::vector<Item>& items, std::size_t limit) {
    if (items.size() <= limit) return false;
    items.erase(items.begin() + static_cast<std::ptrdiff_t>(limit), items.end());
    return limit != 0;
}

}  // namespace cairn
