#pragma once

#include <cairn/store.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace cairn {

/// Calls `visit` for each snapshot of the run, oldest first, and stops at its first error. Each read of the store has
/// the deadline that `reading_deadline` gives.
[[nodiscard]] Status visit_snapshots(Store& store, const std::string& run_id,
                                     const std::function<Status(const SnapshotInfo&)>& visit,
                                     Deadline deadline = Deadline::max());

/// Returns the snapshot of exactly this version; nothing if there is none, or none any more.
[[nodiscard]] Result<std::optional<SnapshotInfo>> find_version(Store& store, const std::string& run_id,
                                                               std::int64_t version,
                                                               Deadline deadline = Deadline::max(),
                                                               Store::Reading reading = Store::Reading::kUsual);

}  // namespace cairn
