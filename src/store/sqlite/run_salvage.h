#pragma once

// Listing runs beside damage. A damaged page of the file ends a statement that reads it, but it says nothing of the
// other pages. So where a list ends like that, the runs are looked for one by one, and those that cannot be read are
// listed with their damage.

#include "store/sqlite/reader.h"
#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

namespace cairn::sqlite {

/// `Store::runs` and `Store::threads`. Beside damage, each page takes as long as a list of all runs.
[[nodiscard]] Result<Page<RunInfo>> list_runs(Connection& connection, const RunQuery& query);
[[nodiscard]] Result<Page<ThreadInfo>> list_threads(Connection& connection, const ThreadQuery& query);

/// The number of runs that damage leaves to be listed.
[[nodiscard]] Result<std::uint64_t> count_runs_beside_damage(Connection& connection);

/// Reads the records of each run and of its snapshots by themselves, so that one that is damaged does not hide others.
[[nodiscard]] Status visit_damaged_run_by_run(Connection& connection, const DamageVisit& visit);

}  // namespace cairn::sqlite
