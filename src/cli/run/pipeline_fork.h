#pragma once

// What a fork of a pipeline's run needs so that it can be gone on with from its step.

#include <cairn/persistence.h>
#include <cairn/store.h>

#include <optional>

namespace cairn::cli {

/// The labels of a fork of `source`: if that was saved by a pipeline, how far it had come, and `labels` on top.
std::optional<State> labels_of_fork(const SnapshotInfo& source, std::optional<State> labels);

/// Of a snapshot that was saved while a group was under way: saves what the group started from and the results of its
/// finished steps, under their own ids, into the new run that `fork` begins. True: there were any.
[[nodiscard]] Result<bool> copy_group(StatePersistence& service, const SnapshotInfo& source,
                                      const StatePersistenceRequest& fork);

}  // namespace cairn::cli
