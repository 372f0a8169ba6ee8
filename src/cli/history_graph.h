#pragma once

// The tree of a run's history as lines of ASCII, the newest snapshot first. Knows versions only.

#include <cstdint>
#include <string>
#include <vector>

namespace cairn::cli {

/// A lane (two columns) stands for the way from a snapshot down to its parent:
///
///     *     5, from 4
///     *     4, from 2: a fork
///     | *   3, from 2
///     |/
///     *     2
///     ~     and what it grew from is gone
///
/// A lane keeps its place until it ends, and a place that has just become free stays so for one line: what stands
/// below each other belongs together.
class HistoryGraph {
public:
    struct Lines {
        std::vector<std::string> before;  ///< Of lanes that end: they come first.
        std::string node;                 ///< The snapshot's own.
    };

    /// Versions fall from call to call; a `parent` of 0 is none.
    Lines add(std::int64_t version, std::int64_t parent);

    /// After the whole history: what is still waited for is gone. Empty if nothing is.
    std::vector<std::string> end();

private:
    std::vector<std::string> end_lanes_above(std::int64_t version);
    std::vector<std::string> join_lanes(std::size_t into, std::int64_t version);
    std::size_t lane_for(std::int64_t version);
    std::string lanes_line(std::size_t marked, char mark) const;

    std::vector<std::int64_t> lanes_;  // the version that each waits for: kFree, kJustFreed or a parent
};

}  // namespace cairn::cli
