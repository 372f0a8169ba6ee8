#pragma once

#include <cstddef>
#include <vector>

namespace cairn {

/// Returns a circle of steps that wait for each other, with the first one again at its end; empty if there is none.
/// `awaited` holds, for each step, the numbers of the steps that it waits for. Linear, without recursion.
[[nodiscard]] std::vector<std::size_t> find_circle(const std::vector<std::vector<std::size_t>>& awaited);

}  // namespace cairn
