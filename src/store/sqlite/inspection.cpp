#include "store/sqlite/inspection.h"

#include "store/sqlite/log_file.h"
#include "store/sqlite/log_keeper.h"
#include "store/sqlite/reader.h"
#include "store/sqlite/rows.h"
#include "store/sqlite/run_salvage.h"
#include "store/sqlite/sqlite_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cairn::sqlite {
namespace {

constexpr char kCounts[] = R"sql(
SELECT (SELECT count(*) FROM runs),
       (SELECT count(*) FROM (SELECT DISTINCT thread_id, user_id FROM runs)),
       count(*), CAST(total(max(state_bytes, 0)) AS INTEGER), ifnull(sum(length(frame)), 0),
       count(*) FILTER (WHERE base_steps > 0), ifnull(sum(length(frame)) FILTER (WHERE base_steps > 0), 0),
       count(*) FILTER (WHERE parent_steps <> 1)
FROM snapshots WHERE run_key > 0
)sql";

constexpr char kOpaqueLabels[] = "SELECT 1 FROM snapshot_labels WHERE state_type <> '' LIMIT 1";
constexpr char kOpaqueCounts[] = R"sql(
SELECT l.state_type, count(*), CAST(total(max(s.state_bytes, 0)) AS INTEGER)
FROM snapshots s CROSS JOIN snapshot_labels l ON l.label_key = s.label_key
WHERE s.run_key > 0 AND l.state_type <> '' GROUP BY l.state_type
)sql";

// A base comes before the snapshots that need it.
constexpr char kChains[] =
    "SELECT run_key, version, base_steps FROM snapshots WHERE run_key > 0 ORDER BY run_key, version";

constexpr char kIntegrity[] = "PRAGMA integrity_check";

// Queries for rows that must not exist, as (run id, snapshot id, problem).
constexpr std::array kRules{
    "SELECT '', s.snapshot_id, 'the snapshot''s run is missing' FROM snapshots s "
    "WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.run_key = s.run_key) AND (s.run_key <> 0 OR s.version <> 0)",

    "SELECT r.run_id, r.head_snapshot_id, 'the snapshot of the run''s head is missing' FROM runs r "
    "WHERE NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.sequence = r.head_sequence AND s.run_key = r.run_key)",

    "SELECT r.run_id, r.head_snapshot_id, 'the run''s head and its snapshot differ' FROM runs r "
    "JOIN snapshots s ON s.sequence = r.head_sequence AND s.run_key = r.run_key "
    "WHERE s.version <> r.head_version OR s.snapshot_id <> r.head_snapshot_id OR s.checksum <> r.head_checksum "
    "OR s.state_bytes <> r.head_state_bytes OR s.expires_at IS NOT r.head_expires_at",

    "SELECT r.run_id, s.snapshot_id, 'the snapshot is newer than the run''s head' FROM runs r "
    "JOIN snapshots s ON s.run_key = r.run_key WHERE s.version > r.head_version",

    "SELECT r.run_id, '', 'the run''s count of snapshots is wrong' FROM runs r "
    "WHERE r.snapshots <> (SELECT count(*) FROM snapshots s WHERE s.run_key = r.run_key)",

    "SELECT r.run_id, s.snapshot_id, 'the snapshot''s version or parent version is impossible' "
    "FROM snapshots s JOIN runs r ON r.run_key = s.run_key "
    "WHERE s.version < 1 OR s.parent_steps < 1 OR s.parent_steps > s.version",

    "SELECT r.run_id, s.snapshot_id, 'the snapshot''s base version is impossible' "
    "FROM snapshots s JOIN runs r ON r.run_key = s.run_key WHERE s.base_steps < 0 OR s.base_steps >= s.version",

    "SELECT r.run_id, s.snapshot_id, 'the snapshot that this one needs is missing' "
    "FROM snapshots s JOIN runs r ON r.run_key = s.run_key WHERE s.base_steps > 0 AND NOT EXISTS ("
    "SELECT 1 FROM snapshots b WHERE b.run_key = s.run_key AND b.version = s.version - s.base_steps)",

    "SELECT r.run_id, s.snapshot_id, 'two snapshots have the same version' FROM ("
    "SELECT run_key, version, max(sequence) AS newest FROM snapshots GROUP BY run_key, version HAVING count(*) > 1) t "
    "JOIN snapshots s ON s.sequence = t.newest JOIN runs r ON r.run_key = t.run_key",

    "SELECT r.run_id, s.snapshot_id, 'the snapshot''s label is missing' "
    "FROM snapshots s JOIN runs r ON r.run_key = s.run_key "
    "WHERE NOT EXISTS (SELECT 1 FROM snapshot_labels l WHERE l.label_key = s.label_key)",

    "SELECT r.run_id, t.snapshot_id, 'the snapshot was written later than one of a higher version' FROM ("
    "SELECT run_key, snapshot_id, sequence, lag(sequence, 1, 0) OVER (PARTITION BY run_key ORDER BY version) AS before "
    "FROM snapshots) t JOIN runs r ON r.run_key = t.run_key WHERE t.sequence <= t.before",

    "SELECT run_id, '', 'the epoch of the run''s lease is impossible' FROM leases WHERE epoch < 1",

    "SELECT r.run_id, s.snapshot_id, 'the snapshot''s checksum is not one' "
    "FROM snapshots s JOIN runs r ON r.run_key = s.run_key WHERE length(s.checksum) <> 16",
};

// The engine stopped here: damage is a finding, and anything else is an error.
Status note(CheckReport& report, Error error) {
    if (error.code != ErrorCode::kCorrupt) return std::unexpected(std::move(error));
    report.findings.push_back({.problem = fmt::format("{} [{}]", error.message, error.detail)});
    return {};
}

// The engine lists an unreadable page as damaged, with its result code in the text.
std::optional<int> result_code_in(std::string_view problem) {
    constexpr std::string_view kBefore = "error code=";
    const std::size_t at = problem.find(kBefore);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view digits = problem.substr(at + kBefore.size());
    int result_code = 0;
    const bool is_number = std::from_chars(digits.data(), digits.data() + digits.size(), result_code).ec == std::errc();
    return is_number ? std::optional(result_code) : std::nullopt;
}

Status check_pages(Connection& connection, const std::filesystem::path& database, CheckReport& report) {
    Cursor cursor = connection.use(kIntegrity);
    while (true) {
        const Result<bool> row = cursor.step();
        if (!row) return note(report, row.error());
        if (!*row) return {};
        const std::string_view problem = cursor.text(0);
        if (problem == "ok") continue;
        if (const auto result_code = result_code_in(problem)) {
            Error error = to_error(*result_code, nullptr, database.native());
            if (error.code != ErrorCode::kCorrupt) return std::unexpected(std::move(error));
        }
        report.findings.push_back({.problem = std::string(problem)});
    }
}

Status check_rule(Connection& connection, const char* rule, CheckReport& report) {
    Cursor cursor = connection.use(rule);
    while (true) {
        const Result<bool> found = cursor.step();
        if (!found) return note(report, found.error());
        if (!*found) return {};
        RowReader row(cursor);
        CheckReport::Finding finding{.run_id = row.text(), .snapshot_id = row.snapshot_id(), .problem = row.text()};
        report.findings.push_back(std::move(finding));
    }
}

using Findings = std::vector<CheckReport::Finding>;

DamageVisit into(Findings& findings) {
    return [&findings](const std::string& run_id, const std::string& snapshot_id, const std::string& damage) {
        findings.push_back({.run_id = run_id, .snapshot_id = snapshot_id, .problem = damage});
    };
}

// A damaged page must not hide the records of other runs.
Status find_damaged_runs_and_snapshots(Connection& connection, Findings& found) {
    Status read = visit_damaged_runs(connection, into(found));
    if (read) read = visit_damaged_snapshots(connection, into(found));
    if (read || read.error().code != ErrorCode::kCorrupt) return read;
    found.clear();
    return visit_damaged_run_by_run(connection, into(found));
}

// Adds the damage that the listings report, unless a rule has named it already. Damage of a run's own record is
// reported once, not for each snapshot.
Status check_records(Connection& connection, CheckReport& report) {
    std::set<std::pair<std::string, std::string>> named;
    for (const CheckReport::Finding& finding : report.findings) named.emplace(finding.run_id, finding.snapshot_id);
    Findings found;
    if (Status read = find_damaged_runs_and_snapshots(connection, found); !read) return read;
    for (const auto visit : {visit_damaged_recoveries, visit_damaged_leases}) {
        const Status read = visit(connection, into(found));
        if (Status noted = read ? Status{} : note(report, read.error()); !noted) return noted;
    }
    std::set<std::pair<std::string, std::string>> of_runs;
    for (CheckReport::Finding& finding : found) {
        const bool is_of_run = finding.snapshot_id.empty();
        if (is_of_run) of_runs.emplace(finding.run_id, finding.problem);
        const bool is_told = !is_of_run && of_runs.contains({finding.run_id, finding.problem});
        if (is_told || named.contains({finding.run_id, finding.snapshot_id})) continue;
        report.findings.push_back(std::move(finding));
    }
    return {};
}

// Beside damage: the runs that can be listed, and no snapshots.
Status count(Connection& connection, CheckReport& report) {
    const Result<StoreStats> stats = count_rows(connection);
    if (stats) {
        report.runs = stats->runs;
        report.snapshots = stats->snapshots;
        return {};
    }
    if (Status noted = note(report, stats.error()); !noted) return noted;
    const Result<std::uint64_t> runs = count_runs_beside_damage(connection);
    if (!runs) return std::unexpected(runs.error());
    report.runs = *runs;
    return {};
}

Status check_log(Connection& connection, const std::filesystem::path& database, CheckReport& report) {
    Result<std::vector<std::string>> problems = problems_of_log(connection, database);
    if (!problems) return std::unexpected(std::move(problems.error()));
    for (std::string& problem : *problems) report.findings.push_back({.problem = std::move(problem)});
    return {};
}

Result<CheckReport> inspect_once(Connection& connection, const std::filesystem::path& database) {
    CheckReport report;
    Transaction transaction(connection);  // one view of the store for all rules
    if (Status status = transaction.begin(Transaction::kRead); !status) return std::unexpected(status.error());
    if (Status status = check_pages(connection, database, report); !status) return std::unexpected(status.error());
    for (const char* rule : kRules) {
        if (Status status = check_rule(connection, rule, report); !status) return std::unexpected(status.error());
    }
    if (Status status = check_records(connection, report); !status) return std::unexpected(status.error());
    if (Status status = count(connection, report); !status) return std::unexpected(status.error());
    if (Status status = check_log(connection, database, report); !status) return std::unexpected(status.error());
    return report;
}

// The engine's own check reports some unreadable pages as damaged. So all pages are read first.
Status read_all(Connection& connection) {
    constexpr std::size_t kPiece = 1 << 20;
    for (std::uint64_t offset = 0; offset < connection.file_bytes(); offset += kPiece) {
        const Result<std::string> piece = connection.peek(kPiece, offset);
        if (!piece) return std::unexpected(piece.error());
    }
    return {};
}

// Most stores have none, which their labels tell.
Status count_opaque_rows(Connection& connection, StoreStats& stats) {
    const Result<bool> are_there = connection.use(kOpaqueLabels).step();
    if (!are_there) return std::unexpected(are_there.error());
    if (!*are_there) return {};
    Cursor cursor = connection.use(kOpaqueCounts);
    while (true) {
        const Result<bool> found = cursor.step();
        if (!found) return std::unexpected(found.error());
        if (!*found) return {};
        RowReader row(cursor);
        const std::string type = row.text();
        stats.opaque_states[type] = {.snapshots = row.count(), .state_bytes = row.count()};
        if (Status status = row.finish(); !status) return status;
    }
}

}  // namespace

Result<StoreStats> count_rows(Connection& connection) {
    Cursor cursor = connection.use(kCounts);
    const Result<bool> found = cursor.step();
    if (!found) return std::unexpected(found.error());
    RowReader row(cursor);
    StoreStats stats{.runs = row.count(),
                     .threads = row.count(),
                     .snapshots = row.count(),
                     .state_bytes = row.count(),
                     .payload_bytes = row.count(),
                     .delta_frames = row.count(),
                     .delta_bytes = row.count()};
    stats.forks = row.count();
    if (Status status = row.finish(); !status) return std::unexpected(status.error());
    if (Status status = count_opaque_rows(connection, stats); !status) return std::unexpected(status.error());
    return stats;
}

Result<std::uint64_t> chain_frames_max(Connection& connection) {
    std::uint64_t longest = 0;
    std::int64_t current_run = 0;
    std::unordered_map<std::int64_t, std::uint64_t> frames;  // of the current run's versions
    Cursor cursor = connection.use(kChains);
    while (true) {
        const Result<bool> found = cursor.step();
        if (!found) return std::unexpected(found.error());
        if (!*found) return longest;
        if (std::exchange(current_run, cursor.integer(0)) != cursor.integer(0)) frames.clear();
        const std::int64_t version = cursor.integer(1);
        const std::int64_t steps = cursor.integer(2);
        const bool has_base = steps > 0 && steps < version;  // `check` reports anything else
        const std::uint64_t count = 1 + (has_base ? frames[version - steps] : 0);
        frames[version] = count;
        longest = std::max(longest, count);
    }
}

std::uint64_t bytes_on_disk(const std::filesystem::path& database) {
    std::uint64_t bytes = 0;
    for (const char* suffix : {"", "-wal"}) {
        std::filesystem::path file = database;
        std::error_code missing;
        const std::uintmax_t size = std::filesystem::file_size(file += suffix, missing);
        if (!missing) bytes += size;
    }
    return bytes;
}

Result<CheckReport> inspect(Connection& connection, const std::filesystem::path& database) {
    Result<CheckReport> first = inspect_once(connection, database);
    if (!first || first->findings.empty()) return first;
    connection.forget_pages();
    Result<CheckReport> again = inspect_once(connection, database);
    if (!again) return again;
    std::erase_if(again->findings, [&](const CheckReport::Finding& finding) {
        return std::ranges::find(first->findings, finding) == first->findings.end();
    });
    if (again->findings.empty()) return again;
    if (Status status = read_all(connection); !status) return std::unexpected(status.error());
    return again;
}

}  // namespace cairn::sqlite
