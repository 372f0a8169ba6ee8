#pragma once

// How a run is freed of some of its snapshots while all others stay loadable: a pure function, no I/O.

#include "persistence/retention/retention_policy.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cairn {

/// One step. Entries are named by their place in the list that was planned for.
struct RetentionStep {
    enum class Kind : std::uint8_t { kRewrite, kDelete };

    Kind kind = Kind::kDelete;
    std::size_t entry = 0;
    /// kRewrite: the entry whose state a delta may be made against; none, or no gain: it becomes self-contained.
    std::optional<std::size_t> base = {};

    friend bool operator==(const RetentionStep&, const RetentionStep&) = default;
};

/// The steps that delete what is marked in `entries`, the oldest of which stands first. After *every* step everything
/// that is still there can be decoded, so transactions may cut the list anywhere.
///  - The newest goes first, and what needs it and stays is rewritten just before. So nothing is rewritten that goes
///    itself, and nothing twice, however the steps are cut into transactions.
///  - A rewritten one depends on the nearest ancestor of its own chain that stays. Where none stays, on the newest
///    earlier snapshot of the run that is self-contained: the first to be cut off becomes that, the others lean on it.
std::vector<RetentionStep> plan_retention(std::span<const RetentionEntry> entries);

}  // namespace cairn
