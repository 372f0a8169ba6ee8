#include "store/sqlite/writer.h"

#include "store/batch_rules.h"
#include "store/sqlite/pruner.h"
#include "store/sqlite/reader.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/sqlite_error.h"
#include "store/sqlite/sqlite_schema.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <string_view>

namespace cairn::sqlite {
namespace {

// All that a write has to know of its run, in one statement.
constexpr char kFindRun[] =
    "SELECT r.run_key, r.created_at, r.head_version, r.thread_id, r.user_id, "
    "EXISTS(SELECT 1 FROM snapshots s WHERE s.run_key = r.run_key AND s.snapshot_id = ?2 "
    "AND " CAIRN_ID_PLACE("s.snapshot_id") " = " CAIRN_ID_PLACE("?2") "), "
    "(SELECT b.snapshot_id FROM snapshots b WHERE b.run_key = r.run_key AND b.version = ?3) "
    "FROM runs r WHERE r.run_id = ?1";

constexpr char kInsertRun[] = R"sql(
INSERT INTO runs(run_id, thread_id, user_id, created_at, snapshots,
                 head_version, head_sequence, head_snapshot_id, head_state_bytes, head_checksum)
VALUES(?, ?, ?, ?, 0, 0, 0, '', 0, x'')
)sql";

// A label that is not there yet makes it fail on label_key.
constexpr char kInsertSnapshot[] = R"sql(
INSERT INTO snapshots(run_key, version, parent_steps, base_steps, label_key, created_after, expires_at, snapshot_id,
                      state_bytes, checksum, execution_context, metadata, frame)
VALUES(?1, ?2, ?3, ?4,
       (SELECT label_key FROM labels WHERE checkpoint_type = ?5 AND agent_phase = ?6 AND is_recovery_point = ?7),
       ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
)sql";

constexpr char kInsertLabel[] = "INSERT INTO labels(checkpoint_type, agent_phase, is_recovery_point) VALUES(?, ?, ?)";

constexpr char kMoveHead[] = R"sql(
UPDATE runs SET snapshots = snapshots + 1, head_version = ?, head_sequence = ?, head_snapshot_id = ?,
                head_state_bytes = ?, head_checksum = ?, head_expires_at = ?
WHERE run_key = ?
)sql";

constexpr char kWriteLease[] =
    "INSERT INTO leases(run_id, owner, epoch, heartbeat_at) VALUES(?1, ?2, ?3, ?4) "
    "ON CONFLICT(run_id) DO UPDATE SET owner = ?2, epoch = ?3, heartbeat_at = ?4";

constexpr char kInsertRecovery[] = R"sql(
INSERT INTO recovery_log(run_id, recovery_type, failure_reason, auto_recovery, source_snapshot_id, result_snapshot_id,
                         result, detail, started_at, duration_us)
VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)sql";

// What a snapshot's row needs of its run's.
struct RunRow {
    std::int64_t key = 0;
    Timestamp created_at;
};

Result<RunRow> insert_run(Connection& connection, const SnapshotInfo& info) {
    Cursor insert = connection.use(kInsertRun);
    const Status status = insert.bind(info.run_id, info.thread_id, info.user_id, to_column(info.created_at)).run();
    if (!status) return std::unexpected(status.error());
    return RunRow{.key = connection.last_row_key(), .created_at = info.created_at};
}

// The base that `write` names, and the id there (column `found`, NULL if there is none).
bool is_base(const SnapshotWrite& write, const Cursor& run, int found) {
    if (write.snapshot.info.base_version == 0) return true;
    if (run.is_null(found)) return false;
    return write.base_snapshot_id.empty() || StoredId(write.base_snapshot_id).is_at(run, found);
}

// Lease{} if the run has none.
Result<Lease> current_lease(Connection& connection, std::string_view run_id) {
    const Result<std::optional<LeaseInfo>> found = lease(connection, run_id);
    if (!found) return std::unexpected(found.error());
    return *found ? (*found)->lease : Lease{};
}

// Costs a write without a lease nothing.
Status check_lease(Connection& connection, const SnapshotWrite& write) {
    if (!write.lease) return {};
    const Result<Lease> current = current_lease(connection, write.snapshot.info.run_id);
    if (!current) return std::unexpected(current.error());
    return cairn::check_lease(write, *current);
}

Status apply(Connection& connection, const LeaseWrite& write) {
    const Result<Lease> current = current_lease(connection, write.run_id);
    if (!current) return std::unexpected(current.error());
    if (Status status = cairn::check_lease(write, *current); !status) return status;
    Cursor upsert = connection.use(kWriteLease);
    return upsert.bind(write.run_id, write.lease.owner, write.lease.epoch, to_column(write.heartbeat_at)).run();
}

// The run that `write` may grow.
Result<RunRow> run_for(Connection& connection, const SnapshotWrite& write) {
    const SnapshotInfo& info = write.snapshot.info;
    const StoredId id(info.snapshot_id);
    Cursor run = connection.use(kFindRun);
    const Result<bool> row = run.bind(info.run_id, id.value(), info.base_version).step();
    if (!row) return std::unexpected(row.error());
    if (!*row) {
        if (Status status = check_lease(connection, write); !status) return std::unexpected(status.error());
        if (write.expected_version != 0) return conflict(write, 0);
        if (info.base_version != 0) return base_is_gone(info.run_id, info.version, info.base_version);
        return insert_run(connection, info);
    }
    if (Status status = check_owner(write, run.text(3), run.text(4)); !status) return std::unexpected(status.error());
    if (run.integer(5) != 0) return already_exists(write);
    if (Status status = check_lease(connection, write); !status) return std::unexpected(status.error());
    if (run.integer(2) != write.expected_version) return conflict(write, run.integer(2));
    if (!is_base(write, run, 6)) return base_is_gone(info.run_id, info.version, info.base_version);
    return RunRow{.key = run.integer(0), .created_at = Timestamp(std::chrono::microseconds(run.integer(1)))};
}

// The engine's result code.
int insert_row(Connection& connection, const Snapshot& snapshot, const RunRow& run) {
    const SnapshotInfo& info = snapshot.info;
    const StoredId id(info.snapshot_id);
    const StoredChecksum checksum(info.checksum);
    Cursor insert = connection.use(kInsertSnapshot);
    insert.bind(run.key, info.version, info.version - info.parent_version,
                info.base_version == 0 ? 0 : info.version - info.base_version, info.checkpoint_type.name(),
                info.agent_phase.name(), std::int64_t{info.is_recovery_point},
                microseconds_between(run.created_at, info.created_at), to_column(info.expires_at), id.value(),
                to_column(info.state_bytes), checksum.value(), unless_empty(info.execution_context),
                unless_empty(info.metadata), Blob{snapshot.frame});
    return insert.run_for_code();
}

Status insert_label(Connection& connection, const SnapshotInfo& info) {
    Cursor insert = connection.use(kInsertLabel);
    return insert.bind(info.checkpoint_type.name(), info.agent_phase.name(), std::int64_t{info.is_recovery_point})
        .run();
}

Result<std::int64_t> insert_snapshot(Connection& connection, const Snapshot& snapshot, const RunRow& run) {
    int result_code = insert_row(connection, snapshot, run);
    if (result_code == SQLITE_CONSTRAINT_NOTNULL) {
        if (Status status = insert_label(connection, snapshot.info); !status) return std::unexpected(status.error());
        result_code = insert_row(connection, snapshot, run);
    }
    if (result_code != SQLITE_OK) return std::unexpected(connection.error(result_code));
    return connection.last_row_key();
}

Status move_head(Connection& connection, const SnapshotInfo& info, std::int64_t run_key, std::int64_t sequence) {
    const StoredId id(info.snapshot_id);
    const StoredChecksum checksum(info.checksum);
    Cursor update = connection.use(kMoveHead);
    return update
        .bind(info.version, sequence, id.value(), to_column(info.state_bytes), checksum.value(),
              to_column(info.expires_at), run_key)
        .run();
}

Status apply(Connection& connection, const SnapshotWrite& write) {
    const Result<RunRow> run = run_for(connection, write);
    if (!run) return std::unexpected(run.error());
    const Result<std::int64_t> sequence = insert_snapshot(connection, write.snapshot, *run);
    if (!sequence) return std::unexpected(sequence.error());
    return move_head(connection, write.snapshot.info, run->key, *sequence);
}

Status apply(Connection& connection, const RecoveryRecord& recovery) {
    Cursor insert = connection.use(kInsertRecovery);
    return insert
        .bind(recovery.run_id, to_string(recovery.recovery_type), recovery.failure_reason,
              std::int64_t{recovery.auto_recovery}, recovery.source_snapshot_id, recovery.result_snapshot_id,
              recovery.result, recovery.detail, to_column(recovery.started_at), std::int64_t{recovery.duration.count()})
        .run();
}

Status apply(Connection& connection, const Batch& batch) {
    for (const LeaseWrite& write : batch.leases) {
        if (Status status = apply(connection, write); !status) return status;
    }
    for (const SnapshotWrite& write : batch.writes) {
        if (Status status = apply(connection, write); !status) return status;
    }
    for (const RecoveryRecord& recovery : batch.recoveries) {
        if (Status status = apply(connection, recovery); !status) return status;
    }
    return prune(connection, batch);
}

// What a failed COMMIT means. Locks: it was not tried. A full disk: the log's last page, which makes the others count,
// did not fit. Anything else (a failed sync above all) may have happened after that page was written: whoever reads
// the log next finds it there, or not.
Error commit_error(Connection& connection, int result_code) {
    Error error = connection.error(result_code);
    if (is_busy(result_code) || (result_code & 0xff) == SQLITE_FULL) return error;
    connection.mark_broken();
    error.code = ErrorCode::kOutcomeUnknown;
    return error;
}

}  // namespace

Status commit(Connection& connection, const Batch& batch) {
    Transaction transaction(connection);
    if (Status status = transaction.begin(Transaction::kWrite); !status) return status;
    if (Status status = apply(connection, batch); !status) return status;
    const int result_code = transaction.commit();
    if (result_code != SQLITE_OK) return std::unexpected(commit_error(connection, result_code));
    Status found_again = connection.check_log();
    if (!found_again) found_again.error().code = ErrorCode::kOutcomeUnknown;
    return found_again;
}

}  // namespace cairn::sqlite
