#pragma once

#include <cairn/store.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace cairn {

/// Calls `visit` for each snapshot of the run, the oldest first; stops at its first error. One reading of the store
/// waits as long as `reading_deadline` says.
[[nodiscard]] Status visit_snapshots(Store& store, const std::string& run_id,
                                     const std::function<Status(const SnapshotInfo&)>& visit,
                                     Deadline deadline = Deadline::max());

/// The snapshot of exactly this version; nothing if there is none (any more).
[[nodiscard]] Result<std::optional<SnapshotInfo>> find_version(Store& store, const std::string& run_id,
                                                               std::int64_t version,
                                                               Deadline deadline = Deadline::max(),
                                                               Store::Reading reading = Store::Reading::kUsual);

}  // namespace cairn
