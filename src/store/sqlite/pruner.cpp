#include "store/sqlite/pruner.h"

#include "store/batch_rules.h"
#include "store/sqlite/rows.h"

#include <sqlite3.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

namespace cairn::sqlite {
namespace {

constexpr char kFindSnapshot[] =
    "SELECT r.run_key, r.head_version, s.sequence, s.snapshot_id FROM runs r "
    "CROSS JOIN snapshots s ON s.run_key = r.run_key WHERE r.run_id = ? AND s.version = ?";

constexpr char kFindVersion[] = "SELECT 1 FROM snapshots WHERE run_key = ? AND version = ?";

constexpr char kRewrite[] = "UPDATE snapshots SET base_steps = ?, frame = ? WHERE sequence = ?";

constexpr char kDelete[] = "DELETE FROM snapshots WHERE sequence = ?";

constexpr char kCountDeleted[] = "UPDATE runs SET snapshots = snapshots - ? WHERE run_key = ?";

// From the index alone. Between two versions, since what is deleted together mostly stands together.
constexpr char kDependants[] =
    "SELECT version, base_steps FROM snapshots "
    "WHERE run_key = ?1 AND version > ?2 AND base_steps > 0 AND version - base_steps BETWEEN ?2 AND ?3";

constexpr char kFindRun[] = "SELECT run_key, head_sequence FROM runs WHERE run_id = ?";

// See the schema: the newest row of the table stays, so that `sequence` never goes back.
constexpr char kEmptyNewest[] =
    "UPDATE snapshots SET run_key = 0, version = 0, parent_steps = 1, base_steps = 0, expires_at = NULL, "
    "snapshot_id = '', execution_context = NULL, metadata = NULL, frame = x'' "
    "WHERE sequence = ?1 AND sequence = (SELECT max(sequence) FROM snapshots)";

constexpr char kDeleteEmptied[] =
    "DELETE FROM snapshots WHERE run_key = 0 AND sequence < (SELECT max(sequence) FROM snapshots)";

constexpr char kDeleteSnapshots[] = "DELETE FROM snapshots WHERE run_key = ?";

constexpr char kDeleteRun[] = "DELETE FROM runs WHERE run_key = ?";

constexpr char kDeleteRecoveries[] = "DELETE FROM recovery_log WHERE run_id = ?";

constexpr char kDeleteLease[] = "DELETE FROM leases WHERE run_id = ?";

// A few milliseconds of work.
constexpr char kGiveBackPages[] = "PRAGMA incremental_vacuum(64)";
constexpr char kPageCount[] = "PRAGMA page_count";
constexpr char kPageSize[] = "PRAGMA page_size";
constexpr char kFreePages[] = "PRAGMA freelist_count";

struct Found {
    std::int64_t run_key = 0;
    std::int64_t head_version = 0;
    std::int64_t sequence = 0;  // 0: it is not there
};

// The snapshot of a version, if it is there and has the id that the caller gave, if any.
Result<Found> find(Connection& connection, std::string_view run_id, std::int64_t version,
                   std::string_view snapshot_id) {
    Cursor cursor = connection.use(kFindSnapshot);
    const Result<bool> row = cursor.bind(run_id, version).step();
    if (!row) return std::unexpected(row.error());
    if (!*row || (!snapshot_id.empty() && !StoredId(snapshot_id).is_at(cursor, 3))) return Found{};
    return Found{.run_key = cursor.integer(0), .head_version = cursor.integer(1), .sequence = cursor.integer(2)};
}

Result<bool> has_version(Connection& connection, std::int64_t run_key, std::int64_t version) {
    Cursor cursor = connection.use(kFindVersion);
    return cursor.bind(run_key, version).step();
}

// ---- rewrites ----

Status apply(Connection& connection, const FrameRewrite& rewrite) {
    const Result<Found> found = find(connection, rewrite.run_id, rewrite.version, rewrite.snapshot_id);
    if (!found) return std::unexpected(found.error());
    if (found->sequence == 0) return snapshot_is_gone(rewrite);
    const bool is_delta = rewrite.base_version != 0;
    if (is_delta) {
        const Result<bool> has_base = has_version(connection, found->run_key, rewrite.base_version);
        if (!has_base) return std::unexpected(has_base.error());
        if (!*has_base) return base_is_gone(rewrite.run_id, rewrite.version, rewrite.base_version);
    }
    Cursor update = connection.use(kRewrite);
    return update.bind(is_delta ? rewrite.version - rewrite.base_version : 0, Blob{rewrite.frame}, found->sequence)
        .run();
}

// ---- deletions ----

// What was deleted of one run.
struct Deleted {
    std::string_view run_id;
    std::vector<std::int64_t> versions;
};
using DeletedByRun = std::map<std::int64_t, Deleted>;  // by run_key

Status apply(Connection& connection, const SnapshotDeletion& deletion, DeletedByRun& deleted) {
    const Result<Found> found = find(connection, deletion.run_id, deletion.version, deletion.snapshot_id);
    if (!found) return std::unexpected(found.error());
    if (found->sequence == 0) return {};
    if (deletion.version == found->head_version) return head_stays(deletion);
    Deleted& of_run = deleted[found->run_key];
    of_run.run_id = deletion.run_id;
    of_run.versions.push_back(deletion.version);
    Cursor remove = connection.use(kDelete);
    return remove.bind(found->sequence).run();
}

// A snapshot that is left may need none of `deleted`.
Status check_needs(Connection& connection, std::int64_t run_key, const Deleted& deleted) {
    Cursor dependants = connection.use(kDependants);
    dependants.bind(run_key, deleted.versions.front(), deleted.versions.back());
    while (true) {
        const Result<bool> row = dependants.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) return {};
        const std::int64_t version = dependants.integer(0);
        const std::int64_t base_version = version - dependants.integer(1);
        if (!std::ranges::binary_search(deleted.versions, base_version)) continue;
        return still_needed(deleted.run_id, base_version, version);
    }
}

Status finish(Connection& connection, std::int64_t run_key, Deleted& deleted) {
    std::ranges::sort(deleted.versions);
    if (Status status = check_needs(connection, run_key, deleted); !status) return status;
    Cursor update = connection.use(kCountDeleted);
    return update.bind(to_column(deleted.versions.size()), run_key).run();
}

// ---- whole runs ----

Status remove_rows(Connection& connection, const char* sql, std::int64_t key) {
    Cursor remove = connection.use(sql);
    return remove.bind(key).run();
}

Status remove_run(Connection& connection, std::int64_t run_key, std::int64_t head_sequence) {
    if (Status status = remove_rows(connection, kEmptyNewest, head_sequence); !status) return status;
    if (Status status = remove_rows(connection, kDeleteSnapshots, run_key); !status) return status;
    if (Status status = remove_rows(connection, kDeleteRun, run_key); !status) return status;
    return connection.use(kDeleteEmptied).run();
}

Status check_is_same(Connection& connection, const RunDeletion& deletion) {
    if (deletion.version == 0) return {};
    const Result<Found> found = find(connection, deletion.run_id, deletion.version, deletion.snapshot_id);
    if (!found) return std::unexpected(found.error());
    return found->sequence == 0 ? is_another_run(deletion) : Status{};
}

Status apply(Connection& connection, const RunDeletion& deletion) {
    {
        Cursor run = connection.use(kFindRun);
        const Result<bool> row = run.bind(deletion.run_id).step();
        if (!row) return std::unexpected(row.error());
        if (*row) {
            if (Status status = check_is_same(connection, deletion); !status) return status;
            if (Status status = remove_run(connection, run.integer(0), run.integer(1)); !status) return status;
        }
    }
    for (const char* sql : {kDeleteRecoveries, kDeleteLease}) {
        Cursor remove = connection.use(sql);
        if (Status status = remove.bind(deletion.run_id).run(); !status) return status;
    }
    return {};
}

}  // namespace

Status prune(Connection& connection, const Batch& batch) {
    for (const FrameRewrite& rewrite : batch.rewrites) {
        if (Status status = apply(connection, rewrite); !status) return status;
    }
    DeletedByRun deleted;
    for (const SnapshotDeletion& deletion : batch.deletions) {
        if (Status status = apply(connection, deletion, deleted); !status) return status;
    }
    for (auto& [run_key, of_run] : deleted) {
        if (Status status = finish(connection, run_key, of_run); !status) return status;
    }
    for (const RunDeletion& deletion : batch.run_deletions) {
        if (Status status = apply(connection, deletion); !status) return status;
    }
    return {};
}

Result<std::uint64_t> bytes_missing_for_log(Connection& connection) {
    const Result<std::int64_t> pages = connection.query_integer(kPageCount);
    const Result<std::int64_t> page_bytes = connection.query_integer(kPageSize);
    if (!pages || !page_bytes) return std::unexpected((!pages ? pages : page_bytes).error());
    const auto wanted = static_cast<std::uint64_t>(*pages * *page_bytes);
    return wanted - std::min(wanted, connection.file_bytes());
}

Result<std::uint64_t> give_back_pages(Connection& connection) {
    const Result<std::int64_t> free_pages = connection.query_integer(kFreePages);
    if (!free_pages) return std::unexpected(free_pages.error());
    if (*free_pages == 0) return 0;
    Transaction transaction(connection);
    if (Status status = transaction.begin(Transaction::kWrite); !status) return std::unexpected(status.error());
    const Result<std::int64_t> before = connection.query_integer(kPageCount);
    const Status vacuumed = connection.use(kGiveBackPages).run();
    const Result<std::int64_t> after = connection.query_integer(kPageCount);
    const Result<std::int64_t> page_bytes = connection.query_integer(kPageSize);
    if (!vacuumed) return std::unexpected(vacuumed.error());
    if (!before || !after || !page_bytes)
        return std::unexpected((!before ? before : !after ? after : page_bytes).error());
    if (const int result_code = transaction.commit(); result_code != SQLITE_OK) {
        return std::unexpected(connection.error(result_code));
    }
    return static_cast<std::uint64_t>((*before - *after) * *page_bytes);
}

}  // namespace cairn::sqlite
