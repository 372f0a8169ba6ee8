#include "store/sqlite/pruner.h"

#include "store/batch_rules.h"
#include "store/sqlite/rows.h"

#include <sqlite3.h>

#include <algorithm>
#include <string_view>
#include <vector>

namespace cairn::sqlite {
namespace {

constexpr char kFindSnapshot[] =
    "SELECT sequence, base_steps, snapshot_id, checksum FROM snapshots WHERE run_key = ? AND version = ?";

constexpr char kRewrite[] = "UPDATE snapshots SET base_steps = ?, frame = ? WHERE sequence = ?";

constexpr char kDelete[] = "DELETE FROM snapshots WHERE sequence = ?";

constexpr char kCountDeleted[] = "UPDATE runs SET snapshots = snapshots - ? WHERE run_key = ?";

// Reads the index alone. The versions are an interval, since snapshots that are deleted together are mostly neighbours.
constexpr char kDependants[] =
    "SELECT version, base_steps FROM snapshots "
    "WHERE run_key = ?1 AND version > ?2 AND base_steps > 0 AND version - base_steps BETWEEN ?2 AND ?3";

// See the schema: the table's newest row stays, so that `sequence` never goes back.
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

// This takes a few milliseconds.
constexpr char kGiveBackPages[] = "PRAGMA incremental_vacuum(64)";
constexpr char kPageCount[] = "PRAGMA page_count";
constexpr char kPageSize[] = "PRAGMA page_size";
constexpr char kFreePages[] = "PRAGMA freelist_count";

// ---- reading ----

Status read_snapshot(Connection& connection, std::int64_t version, RunReading& run) {
    if (version < 1 || run.sequences.contains(version)) return {};
    Cursor row = connection.use(kFindSnapshot);
    const Result<bool> found = row.bind(run.run_key, version).step();
    if (!found) return std::unexpected(found.error());
    if (!*found) return {};
    run.sequences[version] = row.integer(0);
    const std::int64_t steps = row.integer(1);
    const bool has_base = steps > 0 && steps < version;  // `check` reports anything else
    run.facts.snapshots[version] = {.snapshot_id = stored_id_at(row, 2),
                                    .base_version = has_base ? version - steps : 0,
                                    .checksum = stored_checksum_at(row, 3)};
    return {};
}

// Reads the snapshots that need one of `going`, which is in ascending order.
Status read_dependants(Connection& connection, const std::vector<std::int64_t>& going, RunReading& run) {
    if (going.empty()) return {};
    Cursor dependants = connection.use(kDependants);
    dependants.bind(run.run_key, going.front(), going.back());
    while (true) {
        const Result<bool> row = dependants.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) return {};
        const std::int64_t version = dependants.integer(0);
        const std::int64_t base_version = version - dependants.integer(1);
        if (!std::ranges::binary_search(going, base_version)) continue;
        run.facts.snapshots[version].base_version = base_version;
    }
}

// ---- writing ----

Status apply(Connection& connection, const FrameRewrite& rewrite, const RunReading& run) {
    const std::int64_t steps = rewrite.base_version == 0 ? 0 : rewrite.version - rewrite.base_version;
    Cursor update = connection.use(kRewrite);
    return update.bind(steps, Blob{rewrite.frame}, run.sequences.at(rewrite.version)).run();
}

Status remove_rows(Connection& connection, const char* sql, std::int64_t key) {
    Cursor remove = connection.use(sql);
    return remove.bind(key).run();
}

Status remove_snapshots(Connection& connection, const std::vector<std::int64_t>& deleted, const RunReading& run) {
    if (deleted.empty()) return {};
    for (const std::int64_t version : deleted) {
        if (Status status = remove_rows(connection, kDelete, run.sequences.at(version)); !status) return status;
    }
    Cursor update = connection.use(kCountDeleted);
    return update.bind(to_column(deleted.size()), run.run_key).run();
}

Status remove_run(Connection& connection, const RunReading& run) {
    if (Status status = remove_rows(connection, kEmptyNewest, run.head_sequence); !status) return status;
    if (Status status = remove_rows(connection, kDeleteSnapshots, run.run_key); !status) return status;
    if (Status status = remove_rows(connection, kDeleteRun, run.run_key); !status) return status;
    return connection.use(kDeleteEmptied).run();
}

Status remove_all_of(Connection& connection, std::string_view run_id, const RunReading& run) {
    if (run.run_key != 0) {
        if (Status status = remove_run(connection, run); !status) return status;
    }
    for (const char* sql : {kDeleteRecoveries, kDeleteLease}) {
        Cursor remove = connection.use(sql);
        if (Status status = remove.bind(run_id).run(); !status) return status;
    }
    return {};
}

}  // namespace

Status read_facts_for_pruning(Connection& connection, const RunBatch& batch, RunReading& run) {
    const std::vector<std::int64_t> going = versions_named_by_deletions(batch);
    std::vector<std::int64_t> named = going;
    for (const FrameRewrite& rewrite : batch.rewrites) {
        named.insert(named.end(), {rewrite.version, rewrite.base_version});
    }
    if (batch.run_deletion) named.push_back(batch.run_deletion->version);
    for (const std::int64_t version : named) {
        if (Status status = read_snapshot(connection, version, run); !status) return status;
    }
    return read_dependants(connection, going, run);
}

Status prune(Connection& connection, const RunBatch& batch, const std::vector<std::int64_t>& deleted,
             const RunReading& run) {
    for (const FrameRewrite& rewrite : batch.rewrites) {
        if (Status status = apply(connection, rewrite, run); !status) return status;
    }
    if (Status status = remove_snapshots(connection, deleted, run); !status) return status;
    return batch.run_deletion ? remove_all_of(connection, batch.run_id, run) : Status{};
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
