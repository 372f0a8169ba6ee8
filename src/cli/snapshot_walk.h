#pragma once

#include <cairn/store.h>

#include <functional>
#include <string>

namespace cairn::cli {

/// Calls `visit` for each snapshot of the run, the oldest first; stops at its first error.
[[nodiscard]] Status visit_snapshots(Store& store, const std::string& run_id,
                                     const std::function<Status(const SnapshotInfo&)>& visit);

}  // namespace cairn::cli
