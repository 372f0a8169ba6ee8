#pragma once

// Plans the deletion of some of a run's snapshots while all others stay loadable: a pure function, no I/O.

#include "persistence/retention/retention_policy.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cairn {

/// One step. An entry is named by its place in the list that the plan was made for.
struct RetentionStep {
    enum class Kind : std::uint8_t { kRewrite, kDelete };

    Kind kind = Kind::kDelete;
    std::size_t entry = 0;
    /// kRewrite: the entry that a delta may be made against. Without one, or if a delta gains nothing, the snapshot
    /// becomes self-contained.
    std::optional<std::size_t> base = {};

    friend bool operator==(const RetentionStep&, const RetentionStep&) = default;
};

/// Returns the steps that delete the marked ones of `entries`, which are ordered oldest first. After *every* step all
/// remaining snapshots can be decoded, so transactions may cut the list anywhere.
///  - The newest marked snapshot goes first. The snapshots that need it and stay are rewritten just before. So no
///    snapshot is rewritten that goes itself, and none is rewritten twice, however the steps are cut into transactions.
///  - A rewritten snapshot depends on the nearest ancestor of its own chain that stays. If none stays, it depends on
///    the newest earlier snapshot of the run that is self-contained. The first snapshot to be cut off becomes
///    self-contained, and the others depend on it.
std::vector<RetentionStep> plan_retention(std::span<const RetentionEntry> entries);

}  // namespace cairn
