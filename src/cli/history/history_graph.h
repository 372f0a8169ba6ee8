#pragma once

// Draws the tree of a run's history as lines of ASCII, the newest snapshot first. Knows versions only.

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace cairn::cli {

/// A lane (two columns) is the way from a snapshot down to its parent:
///
///     *     5, from 4
///     *     4, from 2: a fork
///     | *   3, from 2
///     |/
///     *     2
///     ~     and its parent is gone
///
/// A lane keeps its place until it ends, and a place that was just freed stays free for one line: lines below each
/// other belong together. Of many lanes the first kLanesDrawn are drawn, with `...` for the others: a star behind it is
/// in one of those, and a `/` says that some of them join. So a history takes O(n log n), whatever its shape.
class HistoryGraph {
public:
    static constexpr std::size_t kLanesDrawn = 40;

    struct Lines {
        std::vector<std::string> before;  ///< Lines of lanes that end: they come first.
        std::string node;                 ///< Line of the snapshot itself.
    };

    /// Versions must fall from call to call; a `parent` of 0 is none.
    Lines add(std::int64_t version, std::int64_t parent);

    /// Call it after the whole history: snapshots that a lane still waits for are gone. Empty if there are none.
    std::vector<std::string> end();

private:
    std::vector<std::string> end_lanes_above(std::int64_t version);
    std::vector<std::string> join_lanes(std::size_t into, const std::set<std::size_t>& lanes);
    std::string joining_line(std::size_t into, std::size_t lane) const;
    std::size_t take_lane(std::set<std::size_t>& waiting);
    void end_lane(std::size_t lane);
    std::string lanes_line(std::size_t marked, char mark) const;

    std::map<std::int64_t, std::set<std::size_t>> waiting_;  // the lanes that wait for a version
    std::vector<bool> goes_on_;                              // true while a lane continues
    std::size_t hidden_ = 0;                                 // number of lanes that continue beyond the drawn ones
    std::set<std::size_t> free_;
    std::vector<std::size_t> just_freed_;
};

}  // namespace cairn::cli
