#pragma once

// Prepares a fork of a pipeline's run, so that it can be resumed from its step.

#include <cairn/persistence.h>
#include <cairn/store.h>

#include <optional>

namespace cairn::cli {

/// Returns the labels of a fork of `source`: the progress, if a pipeline saved it, and `labels` on top.
std::optional<State> labels_of_fork(const SnapshotInfo& source, std::optional<State> labels);

/// For a snapshot that was saved while a group was running: saves the group's base and the results of its finished
/// steps, under their own ids, into the new run that `fork` begins. Returns true if there were any.
[[nodiscard]] Result<bool> copy_group(StatePersistence& service, const SnapshotInfo& source,
                                      const StatePersistenceRequest& fork);

}  // namespace cairn::cli
