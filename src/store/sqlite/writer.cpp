#include "store/sqlite/writer.h"

#include "store/batch_rules.h"
#include "store/sqlite/pruner.h"
#include "store/sqlite/reader.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/run_reading.h"
#include "store/sqlite/sqlite_error.h"
#include "store/sqlite/sqlite_schema.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::sqlite {
namespace {

// Everything that a write needs to know of its run, in one statement.
constexpr char kFindRun[] =
    "SELECT r.run_key, r.created_at, r.head_version, r.thread_id, r.user_id, "
    "EXISTS(SELECT 1 FROM snapshots s WHERE s.run_key = r.run_key AND s.snapshot_id = ?2 "
    "AND " CAIRN_ID_PLACE("s.snapshot_id") " = " CAIRN_ID_PLACE("?2") "), "
    "b.snapshot_id, b.checksum, r.head_sequence "
    "FROM runs r LEFT JOIN snapshots b ON b.run_key = r.run_key AND b.version = ?3 WHERE r.run_id = ?1";

constexpr char kInsertRun[] = R"sql(
INSERT INTO runs(run_id, thread_id, user_id, created_at, snapshots,
                 head_version, head_sequence, head_snapshot_id, head_state_bytes, head_checksum)
VALUES(?, ?, ?, ?, 0, 0, 0, '', 0, x'')
)sql";

// If the label does not exist yet, this fails on label_key.
constexpr char kInsertSnapshot[] = R"sql(
INSERT INTO snapshots(run_key, version, parent_steps, base_steps, label_key, created_after, expires_at, snapshot_id,
                      state_bytes, checksum, execution_context, metadata, frame)
VALUES(?1, ?2, ?3, ?4,
       (SELECT label_key FROM snapshot_labels
        WHERE checkpoint_type = ?5 AND agent_phase = ?6 AND is_recovery_point = ?7 AND state_type = ?8),
       ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
)sql";

constexpr char kInsertLabel[] =
    "INSERT INTO snapshot_labels(checkpoint_type, agent_phase, is_recovery_point, state_type) VALUES(?, ?, ?, ?)";

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

Result<bool> read_run(Connection& connection, const RunBatch& batch, std::string_view snapshot_id,
                      std::int64_t base_version, RunReading& reading) {
    const StoredId id(snapshot_id);
    Cursor row = connection.use(kFindRun);
    const Result<bool> found = row.bind(batch.run_id, id.value(), base_version).step();
    if (!found || !*found) return found;
    reading.run_key = row.integer(0);
    reading.created_at = Timestamp(std::chrono::microseconds(row.integer(1)));
    reading.facts.head_version = row.integer(2);
    if (reading.facts.head_version < 1) {
        return fail(ErrorCode::kCorrupt, fmt::format("the head of run \"{}\" is at version {}: versions begin at 1",
                                                     batch.run_id, reading.facts.head_version));
    }
    reading.facts.thread_id = row.text(3);
    reading.facts.user_id = row.text(4);
    reading.head_sequence = row.integer(8);
    if (row.integer(5) != 0) reading.facts.taken_ids.emplace_back(snapshot_id);
    if (base_version != 0 && !row.is_null(6)) {
        reading.facts.snapshots[base_version] = {.snapshot_id = stored_id_at(row, 6),
                                                 .checksum = stored_checksum_at(row, 7)};
    }
    return true;
}

// Reads all facts that `check_batch` needs.
Status read_facts(Connection& connection, const RunBatch& batch, RunReading& reading) {
    if (names_lease(batch)) {
        const Result<std::optional<LeaseInfo>> found = lease(connection, batch.run_id);
        if (!found) return std::unexpected(found.error());
        reading.facts.lease = found->value_or(LeaseInfo{}).lease;
    }
    Result<bool> is_there = true;
    for (const SnapshotWrite& write : batch.writes) {
        const SnapshotInfo& info = write.snapshot.info;
        is_there = read_run(connection, batch, info.snapshot_id, info.base_version, reading);
        if (!is_there) return std::unexpected(std::move(is_there.error()));
        if (!*is_there) return {};
    }
    if (!prunes(batch)) return {};
    if (batch.writes.empty()) is_there = read_run(connection, batch, {}, 0, reading);
    if (!is_there) return std::unexpected(std::move(is_there.error()));
    return *is_there ? read_facts_for_pruning(connection, batch, reading) : Status{};
}

Status apply_lease(Connection& connection, std::string_view run_id, const LeaseWrite& write) {
    Cursor upsert = connection.use(kWriteLease);
    return upsert.bind(run_id, write.lease.owner, write.lease.epoch, to_column(write.heartbeat_at)).run();
}

Status insert_run(Connection& connection, const SnapshotInfo& info, RunReading& run) {
    Cursor insert = connection.use(kInsertRun);
    Status status = insert.bind(info.run_id, info.thread_id, info.user_id, to_column(info.created_at)).run();
    if (!status) return status;
    run.run_key = connection.last_row_key();
    run.created_at = info.created_at;
    return {};
}

// Returns the engine's result code.
int insert_row(Connection& connection, const Snapshot& snapshot, const RunReading& run) {
    const SnapshotInfo& info = snapshot.info;
    const StoredId id(info.snapshot_id);
    const StoredChecksum checksum(info.checksum);
    Cursor insert = connection.use(kInsertSnapshot);
    insert.bind(run.run_key, info.version, info.version - info.parent_version,
                info.base_version == 0 ? 0 : info.version - info.base_version, info.checkpoint_type.name(),
                info.agent_phase.name(), std::int64_t{info.is_recovery_point}, info.state_type,
                microseconds_between(run.created_at, info.created_at), to_column(info.expires_at), id.value(),
                to_column(info.state_bytes), checksum.value(), unless_empty(info.execution_context),
                unless_empty(info.metadata), Blob{snapshot.frame});
    return insert.run_for_code();
}

Status insert_label(Connection& connection, const SnapshotInfo& info) {
    Cursor insert = connection.use(kInsertLabel);
    return insert
        .bind(info.checkpoint_type.name(), info.agent_phase.name(), std::int64_t{info.is_recovery_point},
              info.state_type)
        .run();
}

Result<std::int64_t> insert_snapshot(Connection& connection, const Snapshot& snapshot, const RunReading& run) {
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

Status apply(Connection& connection, const SnapshotWrite& write, bool is_pruned, RunReading& run) {
    const SnapshotInfo& info = write.snapshot.info;
    if (run.run_key == 0) {
        if (Status status = insert_run(connection, info, run); !status) return status;
    }
    const Result<std::int64_t> sequence = insert_snapshot(connection, write.snapshot, run);
    if (!sequence) return std::unexpected(sequence.error());
    if (is_pruned) run.note_written(info.version, *sequence);
    return move_head(connection, info, run.run_key, *sequence);
}

Status apply(Connection& connection, const RecoveryRecord& recovery) {
    Cursor insert = connection.use(kInsertRecovery);
    return insert
        .bind(recovery.run_id, to_string(recovery.recovery_type), recovery.failure_reason,
              std::int64_t{recovery.auto_recovery}, recovery.source_snapshot_id, recovery.result_snapshot_id,
              recovery.result, recovery.detail, to_column(recovery.started_at), std::int64_t{recovery.duration.count()})
        .run();
}

Status apply(Connection& connection, const RunBatch& batch, const std::vector<std::int64_t>& deleted, RunReading& run) {
    if (batch.lease) {
        if (Status status = apply_lease(connection, batch.run_id, *batch.lease); !status) return status;
    }
    for (const SnapshotWrite& write : batch.writes) {
        if (Status status = apply(connection, write, prunes(batch), run); !status) return status;
    }
    for (const RecoveryRecord& recovery : batch.recoveries) {
        if (Status status = apply(connection, recovery); !status) return status;
    }
    return prunes(batch) ? prune(connection, batch, deleted, run) : Status{};
}

// Explains a failed COMMIT. Locks: it was not tried. A full disk or file: the log's last page, which makes the others
// count, did not fit. Anything else (mostly a failed sync) may have happened after that page was written: the next
// reader of the log may find it there, or not.
Error commit_error(Connection& connection, int result_code) {
    Error error = connection.error(result_code);
    const bool has_no_room = (result_code & 0xff) == SQLITE_FULL ||
                             (result_code == SQLITE_IOERR_WRITE && error.code == ErrorCode::kStorageFull);
    if (is_busy(result_code) || has_no_room) return error;
    connection.mark_broken();
    error.code = ErrorCode::kOutcomeUnknown;
    return error;
}

Error deadline_passed() {
    return {.code = ErrorCode::kUnavailable,
            .message = "the deadline passed before the work was done; nothing was applied"};
}

// Damaged rows and values that are too large concern only their run; anything else concerns all runs.
bool concerns_one_run(const Error& error) {
    return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kLimitExceeded;
}

enum class Progress : std::uint8_t {
    kNothingWritten,
    kWritten,
    kSpoiled,  ///< A batch was refused half written, or the engine takes no more writes after damage: no commit.
};

// Applies one batch. Its answer is an error that concerns the run alone. Errors: those that concern all runs.
Result<Progress> apply_one(Connection& connection, const RunBatch& batch, Status& answer) {
    RunReading run;
    answer = read_facts(connection, batch, run);
    if (!answer && !concerns_one_run(answer.error())) return std::unexpected(std::move(answer.error()));
    if (!answer) return connection.broken() ? Progress::kSpoiled : Progress::kNothingWritten;
    const Result<std::vector<std::int64_t>> deleted = check_batch(batch, run.facts);
    if (!deleted) answer = std::unexpected(deleted.error());
    if (!deleted) return Progress::kNothingWritten;
    answer = apply(connection, batch, *deleted, run);
    if (answer) return Progress::kWritten;
    if (!concerns_one_run(answer.error())) return std::unexpected(std::move(answer.error()));
    answer.error().message = fmt::format("run \"{}\": {}", batch.run_id, answer.error().message);
    return Progress::kSpoiled;
}

// Applies the batches that have not been refused, up to one that spoils the transaction.
Result<Progress> apply_all(Connection& connection, std::span<const RunBatch> batches, std::vector<Status>& answers) {
    Progress progress = Progress::kNothingWritten;
    for (std::size_t i = 0; i < batches.size(); ++i) {
        if (!answers[i] || batches[i].is_empty()) continue;
        const Result<Progress> one = apply_one(connection, batches[i], answers[i]);
        if (!one || *one == Progress::kSpoiled) return one;
        progress = std::max(progress, *one);
    }
    return progress;
}

Status commit(Connection& connection, Transaction& transaction) {
    const int result_code = transaction.commit();
    try {
        if (result_code != SQLITE_OK) return std::unexpected(commit_error(connection, result_code));
        Status found_again = connection.check_log();
        if (!found_again) found_again.error().code = ErrorCode::kOutcomeUnknown;
        return found_again;
    } catch (const std::bad_alloc&) {  // the transaction may have been applied all the same
        connection.mark_broken();
        return fail(ErrorCode::kOutcomeUnknown, "out of memory");
    }
}

}  // namespace

bool has_work(std::span<const RunBatch> batches, const std::vector<Status>& answers) {
    for (std::size_t i = 0; i < batches.size(); ++i) {
        if (answers[i] && !batches[i].is_empty()) return true;
    }
    return false;
}

// A batch that has spoiled a transaction is refused from then on, so there is one more for each at the most.
Result<std::vector<Status>> commit(Connection& connection, std::span<const RunBatch> batches,
                                   std::vector<Status> answers) {
    while (true) {
        Transaction transaction(connection);
        if (Status status = transaction.begin(Transaction::kWrite); !status) return std::unexpected(status.error());
        const Result<Progress> progress = apply_all(connection, batches, answers);
        if (!progress) return std::unexpected(progress.error());
        if (*progress == Progress::kNothingWritten || !has_work(batches, answers)) return answers;
        if (*progress == Progress::kSpoiled && std::chrono::steady_clock::now() < connection.deadline()) continue;
        if (*progress == Progress::kSpoiled) return std::unexpected(deadline_passed());
        if (Status status = commit(connection, transaction); !status) return std::unexpected(status.error());
        return answers;
    }
}

}  // namespace cairn::sqlite
