#include "store/sqlite/sqlite_schema.h"

#include "store/sqlite/schema_check.h"

#include <fmt/format.h>

#include <array>
#include <new>

namespace cairn::sqlite {
namespace {

// `runs` has one row per run, which every save rewrites. It is small and apart from the payload, so the head is one
// look-up there. `snapshots` has one row per save, in commit order. The frame is last, so the other columns are read
// without it. A save touches one page each of `runs`, `snapshots` and its two indexes.
//
// A snapshot id is a 16-byte BLOB if it is a lower-case UUID, and TEXT otherwise. Times are microseconds since 1970,
// UTC. References are not enforced at each save (`check` examines them): a save has just read the run's row.
constexpr char kVersion1[] = R"sql(
CREATE TABLE runs(
    run_key           INTEGER PRIMARY KEY,
    run_id            TEXT NOT NULL UNIQUE,
    thread_id         TEXT NOT NULL,
    user_id           TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    snapshots         INTEGER NOT NULL,
    head_version      INTEGER NOT NULL,
    head_sequence     INTEGER NOT NULL,
    head_snapshot_id  ANY NOT NULL,
    head_state_bytes  INTEGER NOT NULL,
    head_checksum     BLOB NOT NULL,
    head_expires_at   INTEGER
) STRICT;
CREATE INDEX runs_by_thread ON runs(thread_id, user_id);
CREATE INDEX runs_by_user ON runs(user_id);

CREATE TABLE snapshots(
    sequence           INTEGER PRIMARY KEY,
    run_key            INTEGER NOT NULL REFERENCES runs(run_key),
    version            INTEGER NOT NULL,
    parent_version     INTEGER NOT NULL,
    snapshot_id        ANY NOT NULL,
    checkpoint_type    TEXT NOT NULL,
    agent_phase        TEXT NOT NULL,
    is_recovery_point  INTEGER NOT NULL,
    created_at         INTEGER NOT NULL,
    expires_at         INTEGER,
    state_bytes        INTEGER NOT NULL,
    checksum           BLOB NOT NULL,
    execution_context  TEXT NOT NULL,
    frame              BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX snapshots_by_version ON snapshots(run_key, version);
CREATE UNIQUE INDEX snapshots_by_id ON snapshots(run_key, snapshot_id);

CREATE TABLE recovery_log(
    recovery_key        INTEGER PRIMARY KEY,
    run_id              TEXT NOT NULL,
    recovery_type       TEXT NOT NULL,
    failure_reason      TEXT NOT NULL,
    auto_recovery       INTEGER NOT NULL,
    source_snapshot_id  TEXT NOT NULL,
    result_snapshot_id  TEXT NOT NULL,
    result              TEXT NOT NULL,
    detail              TEXT NOT NULL,
    started_at          INTEGER NOT NULL,
    duration_us         INTEGER NOT NULL
) STRICT;
CREATE INDEX recovery_log_by_run ON recovery_log(run_id);
)sql";

// Rows are small: half of all states have about a kilobyte, and their deltas about a hundred bytes. The engine stores
// NULL, 0 and 1 in the row's header alone, so the usual values are among these.
//   parent_steps, base_steps   how many versions back the parent and the base are; base_steps 0: self-contained
//   label_key                  the words that many snapshots share. A label is never changed, but an unused one is
//                              deleted (label_sweep.h): no key outlives the transaction that looked it up
//   created_after              microseconds since the run's created_at, modulo 2^64
//   execution_context, metadata  NULL for an empty one
// `base_steps` is in the index by version, so that whether a snapshot is still needed is seen without reading rows.
//
// `sequence` is the engine's "largest plus one", which costs nothing (AUTOINCREMENT would write one page more at every
// save). It never goes back as long as the table's newest row is not deleted. That row can only be a head. When its run
// is deleted, the row stays, emptied and without a run (run_key 0, version 0), until there is a newer one.
constexpr char kVersion2[] = R"sql(
DROP INDEX snapshots_by_version;
DROP INDEX snapshots_by_id;
ALTER TABLE snapshots RENAME TO snapshots_1;

CREATE TABLE labels(
    label_key          INTEGER PRIMARY KEY,
    checkpoint_type    TEXT NOT NULL,
    agent_phase        TEXT NOT NULL,
    is_recovery_point  INTEGER NOT NULL,
    UNIQUE(checkpoint_type, agent_phase, is_recovery_point)
) STRICT;
INSERT INTO labels(checkpoint_type, agent_phase, is_recovery_point)
    SELECT DISTINCT checkpoint_type, agent_phase, is_recovery_point FROM snapshots_1;

CREATE TABLE snapshots(
    sequence           INTEGER PRIMARY KEY,
    run_key            INTEGER NOT NULL,
    version            INTEGER NOT NULL,
    parent_steps       INTEGER NOT NULL,
    base_steps         INTEGER NOT NULL,
    label_key          INTEGER NOT NULL,
    created_after      INTEGER NOT NULL,
    expires_at         INTEGER,
    snapshot_id        ANY NOT NULL,
    state_bytes        INTEGER NOT NULL,
    checksum           BLOB NOT NULL,
    execution_context  TEXT,
    metadata           TEXT,
    frame              BLOB NOT NULL
) STRICT;
INSERT INTO snapshots
    SELECT s.sequence, s.run_key, s.version, s.version - s.parent_version, 0, l.label_key,
           s.created_at - r.created_at, s.expires_at, s.snapshot_id, s.state_bytes, s.checksum,
           nullif(s.execution_context, ''), NULL, s.frame
    FROM snapshots_1 s
    JOIN runs r ON r.run_key = s.run_key
    JOIN labels l ON (l.checkpoint_type, l.agent_phase, l.is_recovery_point) =
                     (s.checkpoint_type, s.agent_phase, s.is_recovery_point)
    ORDER BY s.sequence;
DROP TABLE snapshots_1;

CREATE INDEX snapshots_by_version ON snapshots(run_key, version, base_steps);
CREATE INDEX snapshots_by_id ON snapshots(run_key, )sql" CAIRN_ID_PLACE("snapshot_id") R"sql();
)sql";

constexpr char kVersion1AsVersion2[] = R"sql(
CREATE TEMP VIEW labels(label_key, checkpoint_type, agent_phase, is_recovery_point) AS
    SELECT sequence, checkpoint_type, agent_phase, is_recovery_point FROM main.snapshots;
CREATE TEMP VIEW snapshots(sequence, run_key, version, parent_steps, base_steps, label_key, created_after, expires_at,
                           snapshot_id, state_bytes, checksum, execution_context, metadata, frame) AS
    SELECT s.sequence, s.run_key, s.version, s.version - s.parent_version, 0, s.sequence,
           s.created_at - (SELECT r.created_at FROM main.runs r WHERE r.run_key = s.run_key), s.expires_at,
           s.snapshot_id, s.state_bytes, s.checksum, nullif(s.execution_context, ''), NULL, s.frame
    FROM main.snapshots s;
)sql";

// The lease of a run, which need not have a row in `runs` yet. It is apart from that row, since every save rewrites the
// head and a lease is only written now and then.
constexpr char kVersion3[] = R"sql(
CREATE TABLE leases(
    run_id        TEXT PRIMARY KEY,
    owner         TEXT NOT NULL,
    epoch         INTEGER NOT NULL,
    heartbeat_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)sql";

constexpr char kVersion2AsVersion3[] =
    "CREATE TEMP VIEW leases(run_id, owner, epoch, heartbeat_at) AS SELECT '', '', 0, 0 WHERE false";

// Labels with the type of the state, which is empty for JSON. Older builds must not open a file that may hold opaque
// states, since they would take them for damage. A process that has the file open already asks for no version: it would
// find its columns and choose among labels by them, whatever their type. So the table has another name, and the
// process's next save fails. (No table is renamed: that would change views of the user's own, or fail at one of them.)
constexpr char kVersion4[] = R"sql(
CREATE TABLE snapshot_labels(
    label_key          INTEGER PRIMARY KEY,
    checkpoint_type    TEXT NOT NULL,
    agent_phase        TEXT NOT NULL,
    is_recovery_point  INTEGER NOT NULL,
    state_type         TEXT NOT NULL,
    UNIQUE(checkpoint_type, agent_phase, is_recovery_point, state_type)
) STRICT;
INSERT INTO snapshot_labels SELECT label_key, checkpoint_type, agent_phase, is_recovery_point, '' FROM labels;
DROP TABLE labels;
)sql";

constexpr char kVersion3AsVersion4[] = R"sql(
CREATE TEMP VIEW snapshot_labels(label_key, checkpoint_type, agent_phase, is_recovery_point, state_type) AS
    SELECT label_key, checkpoint_type, agent_phase, is_recovery_point, '' FROM labels;
)sql";

constexpr std::array kMigrations{
    Migration{.version = 1, .sql = kVersion1},
    Migration{.version = 2, .sql = kVersion2, .views_of_older = kVersion1AsVersion2},
    Migration{.version = 3, .sql = kVersion3, .views_of_older = kVersion2AsVersion3},
    Migration{.version = 4, .sql = kVersion4, .views_of_older = kVersion3AsVersion4},
};

constexpr char kUserVersion[] = "PRAGMA user_version";

// A view of a user's own must not keep a table from being renamed, and must not follow it either.
constexpr char kLeaveViewsAlone[] = "PRAGMA legacy_alter_table = ON";

Status apply(Connection& connection, int from, std::span<const Migration> known) {
    if (from == 0) {
        const Status status = connection.execute(fmt::format("PRAGMA application_id = {}", kApplicationId));
        if (!status) return status;
    }
    for (const Migration& migration : known) {
        if (migration.version <= from) continue;
        if (Status status = connection.execute(migration.sql); !status) return status;
    }
    return connection.execute(fmt::format("PRAGMA user_version = {}", known.back().version));
}

// Reads version and schema from one moment: another process may be migrating the file.
Result<int> checked_version(Connection& connection, std::span<const Migration> known) {
    Transaction transaction(connection);
    if (Status status = transaction.begin(Transaction::kRead); !status) return std::unexpected(status.error());
    Result<int> version = schema_version(connection, known);
    if (!version) return version;
    if (Status status = check_schema(connection, *version, known); !status) return std::unexpected(status.error());
    return version;
}

// A migration has copied the data that it drops. Overwriting it too would cost as much log again, and as much memory.
class WithoutOverwriting {
public:
    explicit WithoutOverwriting(Connection& connection) : connection_(connection) { overwrite("FAST"); }
    ~WithoutOverwriting() { overwrite("ON"); }
    WithoutOverwriting(const WithoutOverwriting&) = delete;
    WithoutOverwriting& operator=(const WithoutOverwriting&) = delete;

private:
    void overwrite(const char* what) noexcept {
        try {
            if (!connection_.execute(fmt::format("PRAGMA secure_delete = {}", what))) connection_.mark_broken();
        } catch (const std::bad_alloc&) {
            connection_.mark_broken();
        }
    }

    Connection& connection_;
};

}  // namespace

std::span<const Migration> migrations() {
    return kMigrations;
}

Result<int> schema_version(Connection& connection, std::span<const Migration> known) {
    const Result<std::int64_t> version = connection.query_integer(kUserVersion);
    if (!version) return std::unexpected(version.error());
    if (*version > known.back().version) {
        return fail(ErrorCode::kIncompatible,
                    fmt::format("a newer cairn wrote this store (schema {}, this one knows up to {})", *version,
                                known.back().version));
    }
    if (*version < 0) {
        return fail(ErrorCode::kIncompatible,
                    fmt::format("the file says that it has schema {}: no cairn wrote that", *version));
    }
    return static_cast<int>(*version);
}

Status read_as_newest(Connection& connection, std::span<const Migration> known) {
    const Result<int> version = checked_version(connection, known);
    if (!version) return std::unexpected(version.error());
    for (const Migration& migration : known) {
        if (migration.version <= *version) continue;
        if (*version == 0 || migration.views_of_older == nullptr) {
            return fail(ErrorCode::kReadOnly,
                        fmt::format("the store has schema {} and this cairn reads {}: open it once for writing, which "
                                    "migrates it",
                                    *version, known.back().version));
        }
        if (Status status = connection.execute(migration.views_of_older); !status) return status;
    }
    connection.note_schema(*version);
    return {};
}

Result<int> bring_up_to_date(Connection& connection, std::span<const Migration> known) {
    const int newest = known.back().version;
    Result<int> version = schema_version(connection, known);
    if (!version) return version;
    if (*version == newest) return checked_version(connection, known);

    connection.allow_work_on_all();
    const WithoutOverwriting without_overwriting(connection);
    if (Status status = connection.execute(kLeaveViewsAlone); !status) return std::unexpected(status.error());
    Transaction transaction(connection);
    if (Status status = transaction.begin(Transaction::kWrite); !status) return std::unexpected(status.error());
    version = schema_version(connection, known);  // again: another process may just have migrated
    if (!version) return version;
    if (Status status = check_schema(connection, *version, known); !status) return std::unexpected(status.error());
    if (*version == newest) return version;
    if (Status status = apply(connection, *version, known); !status) return std::unexpected(status.error());
    if (const int result_code = transaction.commit(); result_code != 0) {
        return std::unexpected(connection.error(result_code));
    }
    return newest;
}

}  // namespace cairn::sqlite
