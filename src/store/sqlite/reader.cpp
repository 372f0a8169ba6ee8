#include "store/sqlite/reader.h"

#include "store/batch_rules.h"
#include "store/cursor.h"
#include "store/page.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/sqlite_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <utility>

namespace cairn::sqlite {
namespace {

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

// The columns that `read_info` reads, in its order.
#define CAIRN_INFO_COLUMNS                                                                                 \
    "r.run_id, r.thread_id, r.user_id, s.snapshot_id, s.version, s.parent_steps, s.base_steps, "           \
    "l.checkpoint_type, l.agent_phase, l.is_recovery_point, l.state_type, r.created_at, s.created_after, " \
    "s.expires_at, "                                                                                       \
    "s.state_bytes, length(s.frame), s.checksum, s.execution_context, s.metadata"
#define CAIRN_LABELS " LEFT JOIN snapshot_labels l ON l.label_key = s.label_key "

constexpr char kHead[] =
    "SELECT thread_id, user_id, head_snapshot_id, head_version, head_state_bytes, head_checksum, head_expires_at "
    "FROM runs WHERE run_id = ?";

constexpr char kLease[] = "SELECT owner, epoch, heartbeat_at FROM leases WHERE run_id = ?";

constexpr char kGetHead[] =
    "SELECT s.sequence, s.run_key, " CAIRN_INFO_COLUMNS
    ", s.frame FROM runs r "
    "LEFT JOIN snapshots s ON s.sequence = r.head_sequence AND s.run_key = r.run_key" CAIRN_LABELS "WHERE r.run_id = ?";

constexpr char kGetById[] =
    "SELECT s.sequence, s.run_key, " CAIRN_INFO_COLUMNS
    ", s.frame FROM runs r "
    "CROSS JOIN snapshots s ON s.run_key = r.run_key AND s.snapshot_id = ?2 "
    "AND " CAIRN_ID_PLACE("s.snapshot_id") " = " CAIRN_ID_PLACE("?2") CAIRN_LABELS "WHERE r.run_id = ?1";

constexpr char kGetBases[] =
    "SELECT version, base_steps, frame FROM snapshots WHERE run_key = ? AND version <= ? ORDER BY version DESC";

constexpr char kGetFrame[] =
    "SELECT s.version, s.base_steps, s.frame FROM runs r CROSS JOIN snapshots s ON s.run_key = r.run_key "
    "AND s.version = ?2 WHERE r.run_id = ?1";

#define CAIRN_HISTORY                                                                                        \
    "SELECT " CAIRN_INFO_COLUMNS " FROM runs r CROSS JOIN snapshots s ON s.run_key = r.run_key" CAIRN_LABELS \
    "WHERE r.run_id = ?1 AND (?2 IS NULL OR r.thread_id = ?2) AND (?3 IS NULL OR r.user_id = ?3) "           \
    "AND s.version BETWEEN ?4 AND ?5 "                                                                       \
    "AND (?6 IS NULL OR l.checkpoint_type = ?6) AND (?7 IS NULL OR l.agent_phase = ?7) "                     \
    "AND (?8 IS NULL OR l.is_recovery_point = ?8) "                                                          \
    "AND (?9 IS NULL OR r.created_at + s.created_after >= ?9) "                                              \
    "AND (?10 IS NULL OR r.created_at + s.created_after < ?10) "                                             \
    "AND (?11 IS NULL OR s.metadata IS NOT NULL) "
constexpr char kHistoryNewestFirst[] = CAIRN_HISTORY "ORDER BY s.version DESC LIMIT ?12";
constexpr char kHistoryOldestFirst[] = CAIRN_HISTORY "ORDER BY s.version LIMIT ?12";

// A page is chosen first, so that the rest is looked up for its runs alone. Each filter has its own statement, so that
// each is answered from its own index. There is no index by time of creation: that order reads all runs that pass the
// filter. ?1 and ?2: the last run of the page before (?1 NULL: there is none).
#define CAIRN_RUN_COLUMNS                                                                          \
    "SELECT r.run_id, r.thread_id, r.user_id, r.head_version, r.head_snapshot_id, "                \
    "l.checkpoint_type, l.agent_phase, r.created_at, r.created_at, s.created_after, r.snapshots, " \
    "s.metadata, g.owner, g.epoch, g.heartbeat_at "
#define CAIRN_LEASE_AND_HEAD                     \
    "LEFT JOIN leases g ON g.run_id = r.run_id " \
    "LEFT JOIN snapshots s ON s.sequence = r.head_sequence" CAIRN_LABELS
#define CAIRN_RUNS(after, condition, order)                                                \
    CAIRN_RUN_COLUMNS                                                                      \
    "FROM (SELECT r.run_key FROM runs r WHERE " after " AND " condition " ORDER BY " order \
    " LIMIT ?3) p CROSS JOIN runs r ON r.run_key = p.run_key " CAIRN_LEASE_AND_HEAD "ORDER BY " order
#define CAIRN_NEWEST_RUNS(condition) \
    CAIRN_RUNS("(?1 IS NULL OR (r.created_at, r.run_id) < (?1, ?2))", condition, "r.created_at DESC, r.run_id DESC")
#define CAIRN_RUNS_BY_ID(condition) CAIRN_RUNS("r.run_id > ?2", condition, "r.run_id")
#define CAIRN_ANY "true"
#define CAIRN_OF_THREAD "r.thread_id = ?4 AND (?5 IS NULL OR r.user_id = ?5)"
#define CAIRN_OF_USER "r.user_id = ?4"
#define CAIRN_OF_ID "r.run_id = ?4 AND (?5 IS NULL OR r.thread_id = ?5) AND (?6 IS NULL OR r.user_id = ?6)"
constexpr char kNewestRuns[] = CAIRN_NEWEST_RUNS(CAIRN_ANY);
constexpr char kNewestRunsOfThread[] = CAIRN_NEWEST_RUNS(CAIRN_OF_THREAD);
constexpr char kNewestRunsOfUser[] = CAIRN_NEWEST_RUNS(CAIRN_OF_USER);
constexpr char kNewestRunOfId[] = CAIRN_NEWEST_RUNS(CAIRN_OF_ID);
constexpr char kRunsById[] = CAIRN_RUNS_BY_ID(CAIRN_ANY);
constexpr char kRunsOfThreadById[] = CAIRN_RUNS_BY_ID(CAIRN_OF_THREAD);
constexpr char kRunsOfUserById[] = CAIRN_RUNS_BY_ID(CAIRN_OF_USER);
constexpr char kRunOfIdById[] = CAIRN_RUNS_BY_ID(CAIRN_OF_ID);
constexpr char kRunAt[] = CAIRN_RUN_COLUMNS "FROM runs r " CAIRN_LEASE_AND_HEAD "WHERE r.run_key = ?";

// One row per run; the threads are put together from these rows as far as a page needs.
#define CAIRN_THREADS(condition)                                                             \
    "SELECT r.thread_id, r.user_id, r.snapshots, r.created_at, s.created_after FROM runs r " \
    "LEFT JOIN snapshots s ON s.sequence = r.head_sequence "                                 \
    "WHERE (r.thread_id, r.user_id) > (?1, ?2) AND " condition " ORDER BY r.thread_id, r.user_id"
constexpr char kThreads[] = CAIRN_THREADS("true");
constexpr char kThreadsOfUser[] = CAIRN_THREADS("r.user_id = ?3");

#define CAIRN_RECOVERY_COLUMNS                                                                                       \
    "run_id, recovery_type, failure_reason, auto_recovery, source_snapshot_id, result_snapshot_id, result, detail, " \
    "started_at, duration_us"
constexpr char kRecoveryLog[] =
    "SELECT " CAIRN_RECOVERY_COLUMNS " FROM recovery_log WHERE run_id = ? ORDER BY recovery_key DESC LIMIT ?";

// All records, for finding damage.
constexpr char kAllRuns[] =
    "SELECT r.run_id, r.thread_id, r.user_id, r.head_version, r.head_snapshot_id, r.snapshots, g.owner, g.epoch, "
    "g.heartbeat_at FROM runs r LEFT JOIN leases g ON g.run_id = r.run_id";
constexpr char kAllSnapshots[] =
    "SELECT " CAIRN_INFO_COLUMNS " FROM snapshots s CROSS JOIN runs r ON r.run_key = s.run_key" CAIRN_LABELS;
constexpr char kAllRecoveries[] = "SELECT " CAIRN_RECOVERY_COLUMNS " FROM recovery_log";
constexpr char kOtherLeases[] =
    "SELECT run_id, owner, epoch, heartbeat_at FROM leases g "
    "WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.run_id = g.run_id)";

SnapshotInfo read_info(RowReader& row) {
    // A braced list is evaluated from left to right, so in the order of the columns.
    SnapshotInfo info{.run_id = row.text(),
                      .thread_id = row.text(),
                      .user_id = row.text(),
                      .snapshot_id = row.snapshot_id(),
                      .version = row.version()};
    info.parent_version = row.parent_version(info.version);
    info.base_version = row.base_version(info.version);
    info.checkpoint_type = CheckpointType(row.joined_text());
    info.agent_phase = AgentPhase(row.joined_text());
    info.is_recovery_point = row.joined_flag();
    info.state_type = row.joined_text();
    info.created_at = row.time_after();
    info.expires_at = row.optional_time();
    info.state_bytes = row.count();
    info.frame_bytes = row.count();
    info.checksum = row.checksum();
    info.execution_context = row.object("execution context", info.damage);
    info.metadata = row.object("metadata", info.damage);
    if (!row.is_sound()) info.damage = row.damage();
    return info;
}

LeaseInfo read_lease(RowReader& row) {
    return {.lease = {.owner = row.text(), .epoch = row.epoch()}, .heartbeat_at = row.heartbeat()};
}

RunInfo read_run(RowReader& row) {
    std::string damage;  // of the head's metadata: it matters only to those who load it
    RunInfo run{.run_id = row.text(),
                .thread_id = row.text(),
                .user_id = row.text(),
                .head_version = row.version(),
                .head_snapshot_id = row.snapshot_id(),
                .checkpoint_type = CheckpointType(row.joined_text()),
                .agent_phase = AgentPhase(row.joined_text()),
                .created_at = row.time(),
                .updated_at = row.time_after(),
                .snapshots = row.count(),
                .metadata = row.object("metadata", damage),
                .lease = row.is_null() ? std::nullopt : std::optional(read_lease(row))};
    run.damage = row.damage();
    if (!row.is_sound()) run.lease.reset();  // a damaged row's lease is unreliable
    return run;
}

// The thread as far as one of its runs shows it.
ThreadInfo read_thread(RowReader& row) {
    ThreadInfo thread{.thread_id = row.text(),
                      .user_id = row.text(),
                      .runs = 1,
                      .snapshots = row.count(),
                      .updated_at = row.time_after()};
    thread.damage = row.damage();
    return thread;
}

RecoveryRecord read_recovery(RowReader& row) {
    RecoveryRecord record{.run_id = row.text(),
                          .recovery_type = row.recovery_type(),
                          .failure_reason = row.text(),
                          .auto_recovery = row.flag(),
                          .source_snapshot_id = row.text(),
                          .result_snapshot_id = row.text(),
                          .result = row.text(),
                          .detail = row.text(),
                          .started_at = row.time(),
                          .duration = std::chrono::microseconds(row.integer())};
    record.damage = row.damage();
    return record;
}

BaseFrame read_frame(RowReader& row) {
    BaseFrame frame{.version = row.version()};
    frame.base_version = row.base_version(frame.version);
    frame.frame = row.blob();
    return frame;
}

// Reads the rows of `cursor` with `read`, and keeps those that `wanted` accepts, up to `limit`. A damaged row reports
// itself: it must not hide the others.
template <class Item, class Read, class Wanted>
Result<std::vector<Item>> collect(Cursor& cursor, Read read, std::size_t limit, Wanted wanted) {
    std::vector<Item> items;
    while (items.size() < limit) {
        const Result<bool> more = cursor.step();
        if (!more) return std::unexpected(more.error());
        if (!*more) break;
        RowReader row(cursor);  // NOLINT(misc-const-correctness): `read` moves it along
        Item item = read(row);
        if (wanted(item)) items.push_back(std::move(item));
    }
    return items;
}

// Collects all rows.
template <class Item, class Read>
Result<std::vector<Item>> collect(Cursor& cursor, Read read) {
    return collect<Item>(cursor, read, std::numeric_limits<std::size_t>::max(), [](const Item&) { return true; });
}

// The interval of versions that come after the last page.
std::pair<std::int64_t, std::int64_t> versions_after(const HistoryQuery& query) {
    const bool newest_first = query.order == HistoryQuery::Order::kNewestFirst;
    if (!query.after_version) return {1, kLargest};
    const std::int64_t after = *query.after_version;
    if (newest_first) return {1, after < 1 ? 0 : after - 1};
    return {after == kLargest ? kLargest : after + 1, after == kLargest ? 0 : kLargest};
}

std::optional<std::string_view> name_of(const auto& named) {
    if (!named) return std::nullopt;
    return std::string_view(named->name());
}

// A base is nearly always the version before, so a chain is read in one scan. The scan takes 0.35 us per row, also for
// rows that are skipped because they do not belong to the chain. A look-up takes 1 us.
constexpr std::int64_t kNearVersions = 3;

/// Adds the frame of `version` and the frames that it needs, the newest first, as long as each is near the one before.
/// Afterwards `version` is the next one that is needed, or 0.
Status scan_bases(Connection& connection, std::int64_t run_key, Snapshot& snapshot, std::int64_t& version) {
    Cursor cursor = connection.use(kGetBases);
    cursor.bind(run_key, version);
    std::int64_t steps = 0;
    while (version != 0 && steps <= kNearVersions) {
        const Result<bool> found = cursor.step();
        if (!found) return std::unexpected(found.error());
        const std::int64_t found_version = *found ? cursor.integer(0) : 0;
        if (found_version > version) continue;
        if (found_version < version) {
            const auto& above = snapshot.bases;
            const std::int64_t needed_by = above.empty() ? snapshot.info.version : above.back().version;
            return broken_chain_error(snapshot.info.run_id, needed_by, version);
        }
        RowReader row(cursor);
        if (snapshot.bases.size() + 1 == kChainFramesUpper) return overlong_chain_error(snapshot.info);
        BaseFrame base = read_frame(row);
        if (Status status = row.finish(); !status) return status;
        version = base.base_version;
        steps = base.version - version;
        snapshot.bases.push_back(std::move(base));
    }
    return {};
}

// Reads the frames that `snapshot` needs. Runs inside the statement that found it, and so at the same moment.
Status read_bases(Connection& connection, std::int64_t run_key, Snapshot& snapshot) {
    for (std::int64_t version = snapshot.info.base_version; version != 0;) {
        if (Status status = scan_bases(connection, run_key, snapshot, version); !status) return status;
    }
    std::ranges::reverse(snapshot.bases);
    return {};
}

std::optional<std::int64_t> number_of(std::optional<bool> flag) {
    if (!flag) return std::nullopt;
    return std::int64_t{*flag};
}

Status visit_rows(Cursor cursor, const std::function<void(RowReader&)>& visit) {
    while (true) {
        const Result<bool> more = cursor.step();
        if (!more) return std::unexpected(more.error());
        if (!*more) return {};
        RowReader row(cursor);  // NOLINT(misc-const-correctness): `visit` moves it along
        visit(row);
    }
}

const char* statement_for(const RunQuery& query) {
    const bool is_by_id = query.order == RunQuery::Order::kById;
    if (query.run_id) return is_by_id ? kRunOfIdById : kNewestRunOfId;
    if (query.thread_id) return is_by_id ? kRunsOfThreadById : kNewestRunsOfThread;
    if (query.user_id) return is_by_id ? kRunsOfUserById : kNewestRunsOfUser;
    return is_by_id ? kRunsById : kNewestRuns;
}

void add_run(ThreadInfo& thread, ThreadInfo run) {
    thread.runs += run.runs;
    thread.snapshots += run.snapshots;
    thread.updated_at = std::max(thread.updated_at, run.updated_at);
    if (thread.damage.empty()) thread.damage = std::move(run.damage);
}

/// Runs, and the place of the page's last run in its stored form, which need not be a text.
struct ListedRuns {
    std::vector<RunInfo> items;
    std::int64_t created_at = 0;
    std::string run_id;
};

Result<ListedRuns> collect_runs(Cursor& cursor, std::size_t page) {
    ListedRuns runs;
    while (true) {
        const Result<bool> more = cursor.step();
        if (!more) return std::unexpected(more.error());
        if (!*more) return runs;
        if (runs.items.size() < page) {
            runs.run_id = cursor.text(0);
            runs.created_at = cursor.integer(7);
        }
        RowReader row(cursor);
        runs.items.push_back(read_run(row));
    }
}

/// Threads, and their ids in their stored form, which need not be texts.
struct ListedThreads {
    std::vector<ThreadInfo> items;
    std::vector<ThreadCursor> keys;
};

// Collects the first `count` threads from rows that are ordered by thread.
Result<ListedThreads> collect_threads(Cursor& cursor, std::size_t count) {
    ListedThreads threads;
    while (true) {
        const Result<bool> more = cursor.step();
        if (!more) return std::unexpected(more.error());
        if (!*more) return threads;
        ThreadCursor key{.thread_id = std::string(cursor.text(0)), .user_id = std::string(cursor.text(1))};
        RowReader row(cursor);
        ThreadInfo run = read_thread(row);
        const bool is_next_run = !threads.keys.empty() && threads.keys.back().thread_id == key.thread_id &&
                                 threads.keys.back().user_id == key.user_id;
        if (is_next_run) {
            add_run(threads.items.back(), std::move(run));
        } else if (threads.items.size() < count) {
            threads.items.push_back(std::move(run));
            threads.keys.push_back(std::move(key));
        } else {
            return threads;
        }
    }
}

Result<std::optional<Head>> read_head(Connection& connection, std::string_view run_id) {
    Cursor cursor = connection.use(kHead);
    const Result<bool> found = cursor.bind(run_id).step();
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    RowReader row(cursor);
    Head head{.thread_id = row.text(),
              .user_id = row.text(),
              .snapshot_id = row.snapshot_id(),
              .version = row.version(),
              .state_bytes = row.count(),
              .checksum = row.checksum(),
              .expires_at = row.optional_time()};
    if (Status status = row.finish(); !status) return std::unexpected(status.error());
    return head;
}

}  // namespace

Result<std::optional<Head>> head(Connection& connection, std::string_view run_id) {
    const std::optional<IndexHeader> moment = connection.moment();
    if (!moment) return read_head(connection, run_id);
    KnownHeads& known = connection.known_heads();
    if (const KnownHeads::Answer* const answer = known.find(*moment, run_id)) return *answer;
    Result<std::optional<Head>> answer = read_head(connection, run_id);
    if (answer) known.remember(*moment, run_id, *answer);
    return answer;
}

Result<std::optional<LeaseInfo>> lease(Connection& connection, std::string_view run_id) {
    Cursor cursor = connection.use(kLease);
    const Result<bool> found = cursor.bind(run_id).step();
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    RowReader row(cursor);
    LeaseInfo lease = read_lease(row);
    if (Status status = row.finish(); !status) return std::unexpected(status.error());
    return lease;
}

Result<std::optional<Snapshot>> get(Connection& connection, std::string_view run_id,
                                    std::optional<std::string_view> snapshot_id) {
    const StoredId id(snapshot_id.value_or(std::string_view()));
    Cursor cursor = connection.use(snapshot_id ? kGetById : kGetHead);
    snapshot_id ? cursor.bind(run_id, id.value()) : cursor.bind(run_id);
    const Result<bool> found = cursor.step();
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    if (cursor.is_null(0)) {
        return fail(ErrorCode::kCorrupt, fmt::format("run \"{}\": the snapshot of its head is missing", run_id));
    }
    RowReader row(cursor);
    row.skip();
    const std::int64_t run_key = row.integer();
    Snapshot snapshot{.info = read_info(row), .frame = row.blob()};
    if (Status status = row.finish(); !status) return std::unexpected(status.error());
    if (Status status = read_bases(connection, run_key, snapshot); !status) return std::unexpected(status.error());
    return snapshot;
}

Result<std::vector<BaseFrame>> frames(Connection& connection, std::string_view run_id,
                                      std::span<const std::int64_t> versions) {
    std::vector<BaseFrame> frames;
    for (const std::int64_t version : versions) {
        Cursor cursor = connection.use(kGetFrame);
        const Result<bool> found = cursor.bind(run_id, version).step();
        if (!found) return std::unexpected(found.error());
        if (!*found) continue;
        RowReader row(cursor);
        frames.push_back(read_frame(row));
        if (Status status = row.finish(); !status) return std::unexpected(status.error());
    }
    return frames;
}

Result<std::vector<SnapshotInfo>> history(Connection& connection, const HistoryQuery& query) {
    const auto [from, until] = versions_after(query);
    const bool newest_first = query.order == HistoryQuery::Order::kNewestFirst;
    // Metadata is compared here and not by the engine, which would read "1.0" and "1" as the same number.
    const bool by_metadata = !query.metadata.empty();
    Cursor cursor = connection.use(newest_first ? kHistoryNewestFirst : kHistoryOldestFirst);
    cursor.bind(query.run_id, to_column(query.thread_id), to_column(query.user_id), from, until,
                name_of(query.checkpoint_type), name_of(query.agent_phase), number_of(query.is_recovery_point),
                to_column(query.created_from), to_column(query.created_until),
                by_metadata ? std::optional<std::int64_t>(1) : std::nullopt,
                by_metadata ? kLargest : to_column(query.limit));
    return collect<SnapshotInfo>(cursor, read_info, query.limit,
                                 [&](const SnapshotInfo& info) { return has_members(info.metadata, query.metadata); });
}

Result<Page<RunInfo>> runs(Connection& connection, const RunQuery& query) {
    std::optional<std::int64_t> created_at;
    std::string run_id;
    if (!query.cursor.empty()) {
        Result<RunCursor> after = decode_run_cursor(query.order, query.cursor);
        if (!after) return std::unexpected(std::move(after.error()));
        created_at = after->created_at;
        run_id = std::move(after->run_id);
    }
    Cursor cursor = connection.use(statement_for(query));
    const std::int64_t rows = to_column(one_more_than(query.limit));
    if (query.run_id) {
        cursor.bind(created_at, run_id, rows, *query.run_id, to_column(query.thread_id), to_column(query.user_id));
    } else if (query.thread_id) {
        cursor.bind(created_at, run_id, rows, *query.thread_id, to_column(query.user_id));
    } else {
        query.user_id ? cursor.bind(created_at, run_id, rows, *query.user_id) : cursor.bind(created_at, run_id, rows);
    }
    Result<ListedRuns> listed = collect_runs(cursor, query.limit);
    if (!listed) return std::unexpected(std::move(listed.error()));
    Page<RunInfo> page{.items = std::move(listed->items)};
    if (!cut(page.items, query.limit)) return page;
    using Place = std::pair<std::int64_t, std::string_view>;
    const bool goes_on = query.order == RunQuery::Order::kById
                             ? listed->run_id > run_id
                             : !created_at || Place(listed->created_at, listed->run_id) < Place(*created_at, run_id);
    if (goes_on) page.next_cursor = encode_run_cursor(query.order, listed->created_at, listed->run_id);
    return page;
}

Result<std::optional<RunInfo>> run_at(Connection& connection, std::int64_t run_key) {
    Cursor cursor = connection.use(kRunAt);
    const Result<bool> found = cursor.bind(run_key).step();
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::nullopt;
    RowReader row(cursor);
    return read_run(row);
}

Result<Page<ThreadInfo>> threads(Connection& connection, const ThreadQuery& query) {
    ThreadCursor after;
    if (!query.cursor.empty()) {
        Result<ThreadCursor> decoded = decode_thread_cursor(query.cursor);
        if (!decoded) return std::unexpected(std::move(decoded.error()));
        after = std::move(*decoded);
    }
    Cursor cursor = connection.use(query.user_id ? kThreadsOfUser : kThreads);
    query.user_id ? cursor.bind(after.thread_id, after.user_id, *query.user_id)
                  : cursor.bind(after.thread_id, after.user_id);
    Result<ListedThreads> listed = collect_threads(cursor, one_more_than(query.limit));
    if (!listed) return std::unexpected(std::move(listed.error()));
    Page<ThreadInfo> page{.items = std::move(listed->items)};
    if (!cut(page.items, query.limit)) return page;
    const ThreadCursor& last = listed->keys[query.limit - 1];
    const bool goes_on = std::tie(last.thread_id, last.user_id) > std::tie(after.thread_id, after.user_id);
    if (goes_on) page.next_cursor = encode_thread_cursor(last.thread_id, last.user_id);  // or the id is not a text
    return page;
}

Result<std::vector<RecoveryRecord>> recovery_log(Connection& connection, std::string_view run_id, std::size_t limit) {
    Cursor cursor = connection.use(kRecoveryLog);
    cursor.bind(run_id, to_column(limit));
    return collect<RecoveryRecord>(cursor, read_recovery);
}

Status visit_damaged_runs(Connection& connection, const DamageVisit& visit) {
    return visit_rows(connection.use(kAllRuns), [&](RowReader& row) {
        RunInfo run{.run_id = row.text(),
                    .thread_id = row.text(),
                    .user_id = row.text(),
                    .head_version = row.version(),
                    .head_snapshot_id = row.snapshot_id(),
                    .snapshots = row.count()};
        if (!row.is_null()) run.lease = read_lease(row);
        if (!row.is_sound()) visit(run.run_id, "", row.damage());
    });
}

Status visit_damaged_snapshots(Connection& connection, const DamageVisit& visit) {
    return visit_rows(connection.use(kAllSnapshots), [&](RowReader& row) {
        const SnapshotInfo info = read_info(row);
        if (!info.damage.empty()) visit(info.run_id, info.snapshot_id, info.damage);
    });
}

Status visit_damaged_recoveries(Connection& connection, const DamageVisit& visit) {
    return visit_rows(connection.use(kAllRecoveries), [&](RowReader& row) {
        const RecoveryRecord record = read_recovery(row);
        if (!record.damage.empty()) visit(record.run_id, "", "a line of its recovery log: " + record.damage);
    });
}

Status visit_damaged_leases(Connection& connection, const DamageVisit& visit) {
    return visit_rows(connection.use(kOtherLeases), [&](RowReader& row) {
        const std::string run_id = row.text();
        static_cast<void>(read_lease(row));
        if (!row.is_sound()) visit(run_id, "", row.damage());
    });
}

}  // namespace cairn::sqlite
