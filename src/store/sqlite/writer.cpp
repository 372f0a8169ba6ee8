#include "store/sqlite/writer.h"

#include "store/batch_rules.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/sqlite_error.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <string_view>

namespace cairn::sqlite {
namespace {

constexpr char kFindRun[] = "SELECT run_key, head_version, thread_id, user_id FROM runs WHERE run_id = ?";

constexpr char kInsertRun[] = R"sql(
INSERT INTO runs(run_id, thread_id, user_id, created_at, snapshots,
                 head_version, head_sequence, head_snapshot_id, head_state_bytes, head_checksum)
VALUES(?, ?, ?, ?, 0, 0, 0, '', 0, x'')
)sql";

constexpr char kInsertSnapshot[] = R"sql(
INSERT INTO snapshots(run_key, version, parent_version, snapshot_id, checkpoint_type, agent_phase, is_recovery_point,
                      created_at, expires_at, state_bytes, checksum, execution_context, frame)
VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)sql";

constexpr char kMoveHead[] = R"sql(
UPDATE runs SET snapshots = snapshots + 1, head_version = ?, head_sequence = ?, head_snapshot_id = ?,
                head_state_bytes = ?, head_checksum = ?, head_expires_at = ?
WHERE run_key = ?
)sql";

constexpr char kFindSnapshot[] = "SELECT 1 FROM snapshots WHERE run_key = ? AND snapshot_id = ?";

constexpr char kInsertRecovery[] = R"sql(
INSERT INTO recovery_log(run_id, recovery_type, failure_reason, auto_recovery, source_snapshot_id, result_snapshot_id,
                         result, detail, started_at, duration_us)
VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
)sql";

// The head has moved. A writer that repeats a commit of unknown outcome finds its own snapshot.
Status taken_or_conflict(Connection& connection, const SnapshotWrite& write, std::int64_t run_key,
                         std::int64_t head_version) {
    const StoredId id(write.snapshot.info.snapshot_id);
    Cursor found = connection.use(kFindSnapshot);
    const Result<bool> row = found.bind(run_key, id.value()).step();
    if (!row) return std::unexpected(row.error());
    return *row ? already_exists(write) : conflict(write, head_version);
}

Result<std::int64_t> insert_run(Connection& connection, const SnapshotInfo& info) {
    Cursor insert = connection.use(kInsertRun);
    const Status status = insert.bind(info.run_id, info.thread_id, info.user_id, to_column(info.created_at)).run();
    if (!status) return std::unexpected(status.error());
    return connection.last_row_key();
}

// The key of the run that `write` may grow.
Result<std::int64_t> run_for(Connection& connection, const SnapshotWrite& write) {
    Cursor run = connection.use(kFindRun);
    const Result<bool> row = run.bind(write.snapshot.info.run_id).step();
    if (!row) return std::unexpected(row.error());
    if (!*row) {
        if (write.expected_version != 0) return conflict(write, 0);
        return insert_run(connection, write.snapshot.info);
    }
    const std::int64_t run_key = run.integer(0);
    const std::int64_t head_version = run.integer(1);
    Status status = check_owner(write, run.text(2), run.text(3));
    if (status && head_version != write.expected_version) {
        status = taken_or_conflict(connection, write, run_key, head_version);
    }
    if (!status) return std::unexpected(status.error());
    return run_key;
}

Result<std::int64_t> insert_snapshot(Connection& connection, const SnapshotWrite& write, std::int64_t run_key) {
    const SnapshotInfo& info = write.snapshot.info;
    const StoredId id(info.snapshot_id);
    const StoredChecksum checksum(info.checksum);
    Cursor insert = connection.use(kInsertSnapshot);
    insert.bind(run_key, info.version, info.parent_version, id.value(), info.checkpoint_type.name(),
                info.agent_phase.name(), std::int64_t{info.is_recovery_point}, to_column(info.created_at),
                to_column(info.expires_at), to_column(info.state_bytes), checksum.value(), info.execution_context,
                Blob{write.snapshot.frame});
    const int result_code = insert.run_for_code();
    if (result_code == SQLITE_OK) return connection.last_row_key();
    // Versions grow, so of the two unique indexes only the one of ids can refuse.
    if (result_code == SQLITE_CONSTRAINT_UNIQUE) return already_exists(write);
    return std::unexpected(connection.error(result_code));
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
    const Result<std::int64_t> run_key = run_for(connection, write);
    if (!run_key) return std::unexpected(run_key.error());
    const Result<std::int64_t> sequence = insert_snapshot(connection, write, *run_key);
    if (!sequence) return std::unexpected(sequence.error());
    return move_head(connection, write.snapshot.info, *run_key, *sequence);
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
    for (const SnapshotWrite& write : batch.writes) {
        if (Status status = apply(connection, write); !status) return status;
    }
    for (const RecoveryRecord& recovery : batch.recoveries) {
        if (Status status = apply(connection, recovery); !status) return status;
    }
    return {};
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
    if (result_code == SQLITE_OK) return {};
    return std::unexpected(commit_error(connection, result_code));
}

}  // namespace cairn::sqlite
