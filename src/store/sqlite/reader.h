#pragma once

// Reading: the queries behind `Store`'s reading members, each on a connection of its own.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::sqlite {

[[nodiscard]] Result<std::optional<Head>> head(Connection& connection, std::string_view run_id);
[[nodiscard]] Result<std::optional<LeaseInfo>> lease(Connection& connection, std::string_view run_id);
[[nodiscard]] Result<std::optional<Snapshot>> get(Connection& connection, std::string_view run_id,
                                                  std::optional<std::string_view> snapshot_id);
[[nodiscard]] Result<std::vector<BaseFrame>> frames(Connection& connection, std::string_view run_id,
                                                    std::span<const std::int64_t> versions);
[[nodiscard]] Result<std::vector<SnapshotInfo>> history(Connection& connection, const HistoryQuery& query);
/// Errors of a listing: also kCorrupt, if a page of the file that it reads is damaged (run_salvage.h goes on from
/// there).
[[nodiscard]] Result<Page<RunInfo>> runs(Connection& connection, const RunQuery& query);
/// The run of one key.
[[nodiscard]] Result<std::optional<RunInfo>> run_at(Connection& connection, std::int64_t run_key);
[[nodiscard]] Result<Page<ThreadInfo>> threads(Connection& connection, const ThreadQuery& query);
[[nodiscard]] Result<std::vector<RecoveryRecord>> recovery_log(Connection& connection, std::string_view run_id,
                                                               std::size_t limit);

/// Receives a damaged record: its run, its snapshot (empty: the run's own record, or another record of the run), and
/// the damage.
using DamageVisit =
    std::function<void(const std::string& run_id, const std::string& snapshot_id, const std::string& damage)>;

/// Each reads every record of one table, up to a damaged page of the file.
[[nodiscard]] Status visit_damaged_runs(Connection& connection, const DamageVisit& visit);
[[nodiscard]] Status visit_damaged_snapshots(Connection& connection, const DamageVisit& visit);
[[nodiscard]] Status visit_damaged_recoveries(Connection& connection, const DamageVisit& visit);
/// The leases of runs that have no snapshots; those of others are read with the runs.
[[nodiscard]] Status visit_damaged_leases(Connection& connection, const DamageVisit& visit);

}  // namespace cairn::sqlite
