#include "store/sqlite/run_salvage.h"

#include "store/cursor.h"
#include "store/page.h"
#include "store/sqlite/rows.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace cairn::sqlite {
namespace {

// A scan from either end reaches all rows that are not between two damaged pages. A run that one index has lost is
// found in the table or in another index.
#define CAIRN_IDS "SELECT run_key, run_id FROM runs INDEXED BY sqlite_autoindex_runs_1 "
#define CAIRN_OWNERS "SELECT run_key, thread_id, user_id FROM runs INDEXED BY runs_by_thread "
#define CAIRN_ROWS "SELECT run_key, run_id, thread_id, user_id, created_at FROM runs NOT INDEXED "
constexpr char kIds[] = CAIRN_IDS "ORDER BY run_id";
constexpr char kIdsBackwards[] = CAIRN_IDS "ORDER BY run_id DESC";
constexpr char kIdsAfter[] = CAIRN_IDS "WHERE run_id > ?1 ORDER BY run_id LIMIT ?2";
constexpr char kOwners[] = CAIRN_OWNERS "ORDER BY thread_id, user_id";
constexpr char kOwnersBackwards[] = CAIRN_OWNERS "ORDER BY thread_id DESC, user_id DESC";
constexpr char kRows[] = CAIRN_ROWS "ORDER BY run_key";
constexpr char kRowsBackwards[] = CAIRN_ROWS "ORDER BY run_key DESC";
constexpr char kRowAt[] = CAIRN_ROWS "WHERE run_key = ?";

constexpr std::string_view kDamagedPage = "its record, its head's or its lease's is in a damaged part of the file";
constexpr std::string_view kDamagedHistory = "the list of its snapshots is in a damaged part of the file";

struct Owner {
    std::string thread_id;
    std::string user_id;
};

/// A run as far as undamaged pages tell of it. Texts are in their stored form, which need not be UTF-8.
struct SalvagedRun {
    std::int64_t run_key = 0;
    std::string run_id = {};
    std::optional<Owner> owner = {};
    std::int64_t created_at = 0;  ///< 0 if the run's row cannot be read.
    bool has_row = false;         ///< The run's row could be read.
};

using SalvagedRuns = std::map<std::int64_t, SalvagedRun>;  // by run_key

bool is_corrupt(const Error& error) {
    return error.code == ErrorCode::kCorrupt;
}

// Calls `take` for each row up to the end or to a damaged page. Returns whether it has come to the end.
template <class Take>
Result<bool> scan(Cursor cursor, Take take) {
    while (true) {
        const Result<bool> more = cursor.step();
        if (!more && is_corrupt(more.error())) return false;
        if (!more) return std::unexpected(more.error());
        if (!*more) return true;
        take(cursor);
    }
}

template <class Take>
Status scan_from_both_ends(Connection& connection, const char* forwards, const char* backwards, Take take) {
    Result<bool> is_whole = scan(connection.use(forwards), take);
    if (is_whole && !*is_whole) is_whole = scan(connection.use(backwards), take);
    return is_whole ? Status{} : std::unexpected(is_whole.error());
}

void take_row(const Cursor& row, SalvagedRun& run) {
    run.run_id = row.text(1);
    run.owner = Owner{.thread_id = std::string(row.text(2)), .user_id = std::string(row.text(3))};
    run.created_at = row.integer(4);
    run.has_row = true;
}

// Errors: those that are no damage.
Status scan_table_and_indexes(Connection& connection, SalvagedRuns& runs) {
    const auto run_in = [&](const Cursor& row) -> SalvagedRun& { return runs[row.integer(0)]; };
    Status read =
        scan_from_both_ends(connection, kRows, kRowsBackwards, [&](const Cursor& row) { take_row(row, run_in(row)); });
    if (!read) return read;
    read = scan_from_both_ends(connection, kIds, kIdsBackwards,
                               [&](const Cursor& row) { run_in(row).run_id = row.text(1); });
    if (!read) return read;
    return scan_from_both_ends(connection, kOwners, kOwnersBackwards, [&](const Cursor& row) {
        run_in(row).owner = Owner{.thread_id = std::string(row.text(1)), .user_id = std::string(row.text(2))};
    });
}

// Reads a row that the scans have not reached: between two damaged pages there may be sound ones.
Status read_row(Connection& connection, SalvagedRun& run) {
    if (run.has_row) return {};
    Cursor row = connection.use(kRowAt);
    const Result<bool> found = row.bind(run.run_key).step();
    if (!found && !is_corrupt(found.error())) return std::unexpected(found.error());
    if (found && *found) take_row(row, run);
    return {};
}

// All runs whose id can be found.
Result<std::vector<SalvagedRun>> salvage_runs(Connection& connection) {
    SalvagedRuns runs;
    if (Status read = scan_table_and_indexes(connection, runs); !read) return std::unexpected(std::move(read.error()));
    std::vector<SalvagedRun> found;
    for (auto& [run_key, run] : runs) {
        run.run_key = run_key;
        if (Status read = read_row(connection, run); !read) return std::unexpected(std::move(read.error()));
        if (!run.run_id.empty()) found.push_back(std::move(run));
    }
    return found;
}

// ---- runs ----

// The run's record, or what is known of it without that. Nothing if the run was deleted meanwhile.
Result<std::optional<RunInfo>> describe(Connection& connection, const SalvagedRun& run) {
    Result<std::optional<RunInfo>> read = run_at(connection, run.run_key);
    if (read || !is_corrupt(read.error())) return read;
    const Owner owner = run.owner.value_or(Owner{});
    return RunInfo{.run_id = readable(run.run_id),
                   .thread_id = readable(owner.thread_id),
                   .user_id = readable(owner.user_id),
                   .created_at = Timestamp(std::chrono::microseconds(run.created_at)),
                   .damage = std::string(kDamagedPage)};
}

bool belongs(const RunQuery& query, const SalvagedRun& run) {
    if (query.run_id && *query.run_id != run.run_id) return false;
    if (!query.thread_id && !query.user_id) return true;
    return run.owner && query.thread_id.value_or(run.owner->thread_id) == run.owner->thread_id &&
           query.user_id.value_or(run.owner->user_id) == run.owner->user_id;
}

bool comes_before(RunQuery::Order order, const SalvagedRun& one, const SalvagedRun& other) {
    if (order == RunQuery::Order::kById) return one.run_id < other.run_id;
    return std::tie(one.created_at, one.run_id) > std::tie(other.created_at, other.run_id);
}

// The runs behind a page in the order of their ids, if the index of the ids can be read that far.
Result<std::optional<std::vector<SalvagedRun>>> next_by_id(Connection& connection, std::string_view after,
                                                           std::size_t count) {
    std::vector<SalvagedRun> found;
    Cursor cursor = connection.use(kIdsAfter);
    cursor.bind(after, to_column(count));
    while (true) {
        const Result<bool> more = cursor.step();
        if (!more && is_corrupt(more.error())) return std::nullopt;
        if (!more) return std::unexpected(more.error());
        if (!*more) return found;
        found.push_back({.run_key = cursor.integer(0), .run_id = std::string(cursor.text(1))});
    }
}

// All runs that the query asks for, behind the page before, in its order.
Result<std::vector<SalvagedRun>> find_runs(Connection& connection, const RunQuery& query) {
    SalvagedRun last;  // of the page before
    if (!query.cursor.empty()) {
        Result<RunCursor> decoded = decode_run_cursor(query.order, query.cursor);
        if (!decoded) return std::unexpected(std::move(decoded.error()));
        last = {.run_id = std::move(decoded->run_id), .created_at = decoded->created_at};
    }
    const bool is_of_any = !query.run_id && !query.thread_id && !query.user_id;
    if (is_of_any && query.order == RunQuery::Order::kById) {
        Result<std::optional<std::vector<SalvagedRun>>> next =
            next_by_id(connection, last.run_id, one_more_than(query.limit));
        if (!next) return std::unexpected(std::move(next.error()));
        if (*next) return *std::move(*next);
    }
    Result<std::vector<SalvagedRun>> found = salvage_runs(connection);
    if (!found) return found;
    std::erase_if(*found, [&](const SalvagedRun& run) {
        return !belongs(query, run) || (!query.cursor.empty() && !comes_before(query.order, last, run));
    });
    std::ranges::sort(*found, [&](const SalvagedRun& one, const SalvagedRun& other) {
        return comes_before(query.order, one, other);
    });
    return found;
}

Result<Page<RunInfo>> salvage_page(Connection& connection, const RunQuery& query) {
    Result<std::vector<SalvagedRun>> found = find_runs(connection, query);
    if (!found) return std::unexpected(std::move(found.error()));
    Page<RunInfo> page;
    if (cut(*found, query.limit)) {
        page.next_cursor = encode_run_cursor(query.order, found->back().created_at, found->back().run_id);
    }
    for (const SalvagedRun& run : *found) {
        Result<std::optional<RunInfo>> info = describe(connection, run);
        if (!info) return std::unexpected(std::move(info.error()));
        if (*info) page.items.push_back(**std::move(info));
    }
    return page;
}

// ---- threads ----

using ThreadKey = std::pair<std::string, std::string>;  // thread, user

void add_run(ThreadInfo& thread, const RunInfo& run) {
    thread.thread_id = run.thread_id;
    thread.user_id = run.user_id;
    thread.runs += 1;
    thread.snapshots += run.snapshots;
    thread.updated_at = std::max(thread.updated_at, run.updated_at);
    if (thread.damage.empty()) thread.damage = run.damage;
}

Result<Page<ThreadInfo>> salvage_page(Connection& connection, const ThreadQuery& query) {
    std::optional<ThreadKey> last;  // of the page before
    if (!query.cursor.empty()) {
        Result<ThreadCursor> decoded = decode_thread_cursor(query.cursor);
        if (!decoded) return std::unexpected(std::move(decoded.error()));
        last = ThreadKey(std::move(decoded->thread_id), std::move(decoded->user_id));
    }
    const Result<std::vector<SalvagedRun>> found = salvage_runs(connection);
    if (!found) return std::unexpected(found.error());
    std::map<ThreadKey, ThreadInfo> threads;
    for (const SalvagedRun& run : *found) {
        if (!run.owner || run.owner->user_id != query.user_id.value_or(run.owner->user_id)) continue;
        ThreadKey key(run.owner->thread_id, run.owner->user_id);
        if (last && key <= *last) continue;
        const Result<std::optional<RunInfo>> info = describe(connection, run);
        if (!info) return std::unexpected(info.error());
        if (*info) add_run(threads[std::move(key)], **info);
    }
    Page<ThreadInfo> page;
    for (auto& [key, thread] : threads) {
        if (page.items.size() == query.limit) {
            if (query.limit != 0) page.next_cursor = encode_thread_cursor(last->first, last->second);
            break;
        }
        page.items.push_back(std::move(thread));
        last = key;
    }
    return page;
}

// Asks again before it believes in damage: the pages that were read are forgotten in between.
template <class Query, class List>
auto list_beside_damage(Connection& connection, const Query& query, List list) {
    auto page = list(connection, query);
    if (page || !is_corrupt(page.error())) return page;
    connection.forget_pages();
    page = list(connection, query);
    if (page || !is_corrupt(page.error())) return page;
    return salvage_page(connection, query);
}

Status visit_history(Connection& connection, const SalvagedRun& run, const DamageVisit& visit) {
    HistoryQuery query{.run_id = run.run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 500};
    while (true) {
        const Result<std::vector<SnapshotInfo>> page = history(connection, query);
        if (!page && is_corrupt(page.error())) visit(readable(run.run_id), "", std::string(kDamagedHistory));
        if (!page) return is_corrupt(page.error()) ? Status{} : std::unexpected(page.error());
        for (const SnapshotInfo& info : *page) {
            if (!info.damage.empty()) visit(info.run_id, info.snapshot_id, info.damage);
        }
        if (page->size() < query.limit) return {};
        query.after_version = page->back().version;
    }
}

}  // namespace

Result<Page<RunInfo>> list_runs(Connection& connection, const RunQuery& query) {
    return list_beside_damage(connection, query, runs);
}

Result<Page<ThreadInfo>> list_threads(Connection& connection, const ThreadQuery& query) {
    return list_beside_damage(connection, query, threads);
}

Result<std::uint64_t> count_runs_beside_damage(Connection& connection) {
    const Result<std::vector<SalvagedRun>> found = salvage_runs(connection);
    if (!found) return std::unexpected(found.error());
    return found->size();
}

Status visit_damaged_run_by_run(Connection& connection, const DamageVisit& visit) {
    const Result<std::vector<SalvagedRun>> found = salvage_runs(connection);
    if (!found) return std::unexpected(found.error());
    for (const SalvagedRun& run : *found) {
        const Result<std::optional<RunInfo>> info = describe(connection, run);
        if (!info) return std::unexpected(info.error());
        if (!*info) continue;
        if (!(*info)->damage.empty()) visit((*info)->run_id, "", (*info)->damage);
        if ((*info)->damage == kDamagedPage) continue;  // its snapshots are found by its record
        if (Status visited = visit_history(connection, run, visit); !visited) return visited;
    }
    return {};
}

}  // namespace cairn::sqlite
