#pragma once

#include <cstddef>
#include <vector>

namespace cairn {

/// A circle of steps that wait for each other, the first one again at its end; empty if there is none. `awaited` holds,
/// for each step, the numbers of those that it waits for. Linear in all of them, and without recursion.
[[nodiscard]] std::vector<std::size_t> find_circle(const std::vector<std::vector<std::size_t>>& awaited);

}  // namespace cairn
