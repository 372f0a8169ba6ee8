// Goal: the listings (runs, threads, recovery log), the statistics and the check report exactly what is stored. The
// listings have the documented order, page by page.
// Method: small stores made by hand, with clocks that run backwards or stand still, and ids in no order.

#include "conformance/store_conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

Snapshot owned(std::string run_id, std::int64_t version, std::string thread_id, std::string user_id) {
    Snapshot snapshot = make_snapshot(std::move(run_id), version);
    snapshot.info.thread_id = std::move(thread_id);
    snapshot.info.user_id = std::move(user_id);
    return snapshot;
}

std::vector<std::string> run_ids(const std::vector<RunInfo>& runs) {
    std::vector<std::string> ids;
    for (const RunInfo& run : runs) ids.push_back(run.run_id);
    return ids;
}

// ---- runs ----

TEST_P(StoreConformance, ARunIsDescribedByItsFirstSnapshotAndItsHead) {
    Snapshot first = make_snapshot("run", 1);
    first.info.checkpoint_type = CheckpointType::kManual;
    first.info.agent_phase = AgentPhase::kTriage;
    Snapshot last = make_snapshot("run", 5);
    last.info.checkpoint_type = CheckpointType::kRecovery;
    last.info.agent_phase = AgentPhase::kReporting;
    ASSERT_TRUE(is_ok(commit(first)));
    ASSERT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .writes = {{.snapshot = last, .expected_version = 1}}})));

    const auto runs = all_runs(store());
    ASSERT_EQ(runs.size(), 1U);
    const RunInfo wanted{.run_id = "run",
                         .thread_id = "thread",
                         .user_id = "user",
                         .head_version = 5,
                         .head_snapshot_id = "run-5",
                         .checkpoint_type = CheckpointType::kRecovery,
                         .agent_phase = AgentPhase::kReporting,
                         .created_at = first.info.created_at,
                         .updated_at = last.info.created_at,
                         .snapshots = 2};
    EXPECT_EQ(describe(runs[0]), describe(wanted));
}

TEST_P(StoreConformance, RunsAreListedByTheirTimeOfCreationTheLatestFirst) {
    int hours = 0;
    for (const std::string run_id : {"b", "a", "d", "c"}) {
        Snapshot snapshot = make_snapshot(run_id, 1);
        snapshot.info.created_at = kEpoch - std::chrono::hours(hours++);  // a clock that goes back
        ASSERT_TRUE(is_ok(commit(snapshot)));
    }
    EXPECT_EQ(run_ids(all_runs(store())), (std::vector<std::string>{"b", "a", "d", "c"}));
    add_versions("c", 2, 2);
    EXPECT_EQ(run_ids(all_runs(store())), (std::vector<std::string>{"b", "a", "d", "c"})) << "a write moved a run";
}

TEST_P(StoreConformance, RunsOfOneTimeAreListedByTheirIdsTheLargestFirst) {
    std::vector<SnapshotWrite> writes;
    for (const std::string run_id : {"y", "x", "z"}) writes.push_back(make_write(make_snapshot(run_id, 1)));
    ASSERT_TRUE(is_ok(commit(batches_of(std::move(writes)))));
    Snapshot later = make_snapshot("a", 1);
    later.info.created_at += std::chrono::microseconds(1);
    ASSERT_TRUE(is_ok(commit(later)));
    for (std::size_t page_items = 1; page_items <= 5; ++page_items) {
        EXPECT_EQ(run_ids(all_runs(store(), {}, page_items)), (std::vector<std::string>{"a", "z", "y", "x"}));
    }
}

TEST_P(StoreConformance, RunsAreListedByIdForWhoeverWalksThroughAll) {
    using enum RunQuery::Order;
    for (const std::string run_id : {"b", "a", "\xC3\xA4", "c:1", "c"}) {
        Snapshot snapshot = make_snapshot(run_id, 1);
        snapshot.info.user_id = run_id == "b" ? "other" : "user";
        ASSERT_TRUE(is_ok(commit(snapshot)));
    }
    using Ids = std::vector<std::string>;
    for (std::size_t page_items = 1; page_items <= 6; ++page_items) {
        EXPECT_EQ(run_ids(all_runs(store(), {.order = kById}, page_items)), (Ids{"a", "b", "c", "c:1", "\xC3\xA4"}));
        EXPECT_EQ(run_ids(all_runs(store(), {.user_id = "user", .order = kById}, page_items)),
                  (Ids{"a", "c", "c:1", "\xC3\xA4"}));
        EXPECT_EQ(run_ids(all_runs(store(), {.thread_id = "thread", .user_id = "other", .order = kById}, page_items)),
                  (Ids{"b"}));
    }
}

TEST_P(StoreConformance, ACursorIsOfOneOrderOnly) {
    add_versions("a", 1, 1);
    add_versions("b", 1, 1);
    using enum RunQuery::Order;
    const std::string newest = store().runs({.limit = 1}, soon()).value().next_cursor;
    const std::string by_id = store().runs({.order = kById, .limit = 1}, soon()).value().next_cursor;
    EXPECT_EQ(error_code(store().runs({.order = kById, .cursor = newest}, soon())), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error_code(store().runs({.cursor = by_id}, soon())), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error_code(store().threads({.cursor = by_id}, soon())), ErrorCode::kInvalidArgument);
}

TEST_P(StoreConformance, RunsAreFilteredByThreadAndUser) {
    ASSERT_TRUE(is_ok(commit(owned("1", 1, "t", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("2", 1, "t", "v"))));
    ASSERT_TRUE(is_ok(commit(owned("3", 1, "s", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("4", 1, "t", "u"))));
    using Ids = std::vector<std::string>;
    EXPECT_EQ(run_ids(all_runs(store(), {}, 2)), (Ids{"4", "3", "2", "1"}));
    EXPECT_EQ(run_ids(all_runs(store(), {.thread_id = "t"}, 2)), (Ids{"4", "2", "1"}));
    EXPECT_EQ(run_ids(all_runs(store(), {.user_id = "u"}, 2)), (Ids{"4", "3", "1"}));
    EXPECT_EQ(run_ids(all_runs(store(), {.thread_id = "t", .user_id = "u"}, 1)), (Ids{"4", "1"}));
    EXPECT_EQ(run_ids(all_runs(store(), {.thread_id = "s", .user_id = "v"})), Ids{});
    EXPECT_EQ(run_ids(all_runs(store(), {.thread_id = ""})), Ids{});
}

TEST_P(StoreConformance, OneRunIsFoundByItsIdUnderWhoeverOwnsIt) {
    ASSERT_TRUE(is_ok(commit(owned("a", 1, "t", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("b", 1, "t", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("b", 2, "t", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("b:1", 1, "t", "v"))));
    using Ids = std::vector<std::string>;
    const auto found = all_runs(store(), {.run_id = "b"});
    ASSERT_EQ(run_ids(found), Ids{"b"});
    EXPECT_EQ(describe(found[0]), describe(all_runs(store(), {.order = RunQuery::Order::kById}).at(1)));
    EXPECT_EQ(run_ids(all_runs(store(), {.run_id = "b", .thread_id = "t", .user_id = "u"})), Ids{"b"});
    EXPECT_EQ(run_ids(all_runs(store(), {.run_id = "b", .thread_id = "s"})), Ids{});
    EXPECT_EQ(run_ids(all_runs(store(), {.run_id = "b", .user_id = "v"})), Ids{});
    for (const std::string absent : {"", "c", "B", "b:"})
        EXPECT_EQ(run_ids(all_runs(store(), {.run_id = absent})), Ids{});
}

// A page of one run is the page of the whole list, without the other runs.
TEST_P(StoreConformance, OneRunIsAPageOfItsListInEitherOrder) {
    for (const std::string run_id : {"a", "b", "c"}) add_versions(run_id, 1, 1);
    for (const auto order : {RunQuery::Order::kNewestFirst, RunQuery::Order::kById}) {
        const bool is_by_id = order == RunQuery::Order::kById;
        const Page<RunInfo> page = store().runs({.run_id = "b", .order = order, .limit = 1}, soon()).value();
        EXPECT_EQ(run_ids(page.items), std::vector<std::string>{"b"});
        EXPECT_TRUE(page.next_cursor.empty());
        EXPECT_TRUE(store().runs({.run_id = "b", .order = order, .limit = 0}, soon()).value().items.empty());
        const std::string behind_first = store().runs({.order = order, .limit = 1}, soon()).value().next_cursor;
        const auto behind = [&](const std::string& run_id) {
            return store()
                .runs({.run_id = run_id, .order = order, .cursor = behind_first}, soon())
                .value()
                .items.size();
        };
        EXPECT_EQ(behind("b"), 1U);
        EXPECT_EQ(behind(is_by_id ? "a" : "c"), 0U) << "it stood on the page before";
        EXPECT_EQ(error_code(store().runs({.run_id = "b", .order = order, .cursor = "x"}, soon())),
                  ErrorCode::kInvalidArgument);
    }
}

TEST_P(StoreConformance, PagesOfRunsAreCompleteForEveryPageSize) {
    for (int i = 0; i < 12; ++i) {
        Snapshot snapshot = make_snapshot(fmt::format("run {}", i), 1);
        snapshot.info.created_at += std::chrono::seconds(i / 3);  // three of each time
        ASSERT_TRUE(is_ok(commit(snapshot)));
    }
    const auto whole = run_ids(all_runs(store(), {}, 100));
    ASSERT_EQ(whole.size(), 12U);
    for (std::size_t page_items = 1; page_items <= 13; ++page_items) {
        EXPECT_EQ(run_ids(all_runs(store(), {}, page_items)), whole) << page_items << " a page";
    }
    EXPECT_TRUE(store().runs({.limit = 12}, soon()).value().next_cursor.empty())
        << "the last page is full, and the last";
    EXPECT_FALSE(store().runs({.limit = 11}, soon()).value().next_cursor.empty());
    EXPECT_TRUE(store().runs({.limit = kAll}, soon()).value().next_cursor.empty());
    EXPECT_TRUE(store().runs({.limit = 0}, soon()).value().items.empty());
}

TEST_P(StoreConformance, PagesOfRunsSkipAndRepeatNothingWhileRunsAreWritten) {
    for (int i = 0; i < 9; ++i) add_versions(fmt::format("run {}", i), 1, 1);
    std::vector<std::string> seen;
    RunQuery query{.limit = 2};
    do {
        const Page<RunInfo> page = store().runs(query, soon()).value();
        for (const RunInfo& run : page.items) seen.push_back(run.run_id);
        query.cursor = page.next_cursor;
        Snapshot later = make_snapshot(fmt::format("new {}", seen.size()), 1);
        later.info.created_at += std::chrono::hours(1);
        ASSERT_TRUE(is_ok(commit(later)));
        const std::int64_t head = head_version("run 0");
        add_versions("run 0", head + 1, head + 1);
    } while (!query.cursor.empty());
    EXPECT_EQ(seen, (std::vector<std::string>{"run 8", "run 7", "run 6", "run 5", "run 4", "run 3", "run 2", "run 1",
                                              "run 0"}));
}

// ---- threads ----

TEST_P(StoreConformance, OneThreadIdUnderTwoUsersIsTwoThreads) {
    ASSERT_TRUE(is_ok(commit(owned("1", 1, "t", "v"))));
    ASSERT_TRUE(is_ok(commit(owned("2", 1, "t", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("3", 1, "t", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("3", 2, "t", "u"))));
    const std::vector<ThreadInfo> wanted{
        {.thread_id = "t", .user_id = "u", .runs = 2, .snapshots = 3, .updated_at = kEpoch + std::chrono::seconds(2)},
        {.thread_id = "t", .user_id = "v", .runs = 1, .snapshots = 1, .updated_at = kEpoch + std::chrono::seconds(1)}};
    EXPECT_EQ(describe(all_threads(store())), describe(wanted));
    EXPECT_EQ(describe(all_threads(store(), {.user_id = "u"})), describe(std::vector{wanted[0]}));
    EXPECT_EQ(describe(all_threads(store(), {.user_id = "v"})), describe(std::vector{wanted[1]}));
    EXPECT_TRUE(all_threads(store(), {.user_id = "w"}).empty());
    EXPECT_EQ(store().stats(soon()).value().threads, 2U);
}

TEST_P(StoreConformance, ThreadsAreOrderedByTheBytesOfTheirIdsThenUsers) {
    const std::vector<std::string> sorted{"A", "B", "a", "a b", "ab", "b", "\xC3\xA9", "\xF0\x9F\xA6\x8A"};
    for (std::size_t i = 0; i < sorted.size(); ++i) {
        const std::size_t shuffled = (i * 3) % sorted.size();
        for (const std::string user : {"v", "u"}) {
            ASSERT_TRUE(is_ok(commit(owned(fmt::format("{} {}", sorted[shuffled], user), 1, sorted[shuffled], user))));
        }
    }
    for (std::size_t page_items = 1; page_items <= 17; ++page_items) {
        const auto threads = all_threads(store(), {}, page_items);
        ASSERT_EQ(threads.size(), 2 * sorted.size()) << page_items << " a page";
        for (std::size_t i = 0; i < threads.size(); ++i) {
            EXPECT_EQ(threads[i].thread_id, sorted[i / 2]);
            EXPECT_EQ(threads[i].user_id, i % 2 == 0 ? "u" : "v");
        }
    }
    EXPECT_TRUE(store().threads({.limit = 16}, soon()).value().next_cursor.empty());
    EXPECT_TRUE(store().threads({.limit = kAll}, soon()).value().next_cursor.empty());
    EXPECT_TRUE(store().threads({.limit = 0}, soon()).value().items.empty());
}

TEST_P(StoreConformance, AThreadWasUpdatedAtTheLatestOfItsHeadsTimes) {
    Snapshot late = make_snapshot("a", 1);
    late.info.created_at = kEpoch + std::chrono::hours(5);
    Snapshot early = make_snapshot("b", 1);
    early.info.created_at = kEpoch - std::chrono::hours(5);
    ASSERT_TRUE(is_ok(commit(late)));
    ASSERT_TRUE(is_ok(commit(early)));
    EXPECT_EQ(all_threads(store()).at(0).updated_at, late.info.created_at);
    Snapshot back = make_snapshot("a", 2);  // by a clock that went back
    back.info.created_at = kEpoch - std::chrono::hours(9);
    ASSERT_TRUE(is_ok(commit(back)));
    EXPECT_EQ(all_threads(store()).at(0).updated_at, early.info.created_at);
}

// ---- cursors ----

TEST_P(StoreConformance, ACursorThatTheStoreDidNotMakeIsInvalid) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(is_ok(commit(owned(fmt::format("{}", i), 1, fmt::format("t{}", i), "u"))));
    const std::string run_cursor = store().runs({.limit = 1}, soon()).value().next_cursor;
    const std::string thread_cursor = store().threads({.limit = 1}, soon()).value().next_cursor;
    ASSERT_FALSE(run_cursor.empty());
    ASSERT_FALSE(thread_cursor.empty());

    const std::vector<std::string> invented{"x",           "-1",           "'",
                                            "run",         "run:",         "run:x",
                                            "run:1x",      "run: 1",       "run:99999999999999999999",
                                            "thread",      "thread:",      "thread:1",
                                            "thread:9:ab", "thread:-1:ab", std::string(1000, '9')};
    for (const std::string& cursor : invented) {
        EXPECT_EQ(error_code(store().runs({.cursor = cursor}, soon())), ErrorCode::kInvalidArgument) << cursor;
        EXPECT_EQ(error_code(store().threads({.cursor = cursor}, soon())), ErrorCode::kInvalidArgument) << cursor;
    }
    EXPECT_EQ(error_code(store().runs({.cursor = thread_cursor}, soon())), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error_code(store().threads({.cursor = run_cursor}, soon())), ErrorCode::kInvalidArgument);
}

// ---- recovery log ----

TEST_P(StoreConformance, EveryFieldOfARecoveryRecordComesBack) {
    std::vector<RecoveryRecord> records;
    for (const auto type : {RecoveryType::kRestart, RecoveryType::kResume, RecoveryType::kRollback}) {
        records.push_back({.run_id = "run",
                           .recovery_type = type,
                           .failure_reason = "it's \"broken\" \xE6\x97\xA5\n",
                           .auto_recovery = type == RecoveryType::kResume,
                           .source_snapshot_id = "source",
                           .result_snapshot_id = "result",
                           .result = "recovered",
                           .detail = std::string(5000, 'd'),
                           .started_at = Timestamp::max(),
                           .duration = std::chrono::microseconds(1LL << 40)});
    }
    records.push_back({.run_id = "run", .result = "not_found"});
    ASSERT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .recoveries = records})));
    std::ranges::reverse(records);
    EXPECT_EQ(describe(store().recovery_log("run", 10, soon()).value()), describe(records));
}

TEST_P(StoreConformance, TheRecoveryLogIsNewestFirstByCommitAndOnlyTheRuns) {
    for (int i = 1; i <= 5; ++i) {
        RecoveryRecord record = make_recovery("run", fmt::format("{}", i));
        record.started_at = kEpoch - std::chrono::seconds(i / 2);  // backwards, with ties
        ASSERT_TRUE(is_ok(commit(std::vector<RunBatch>{{.run_id = "run", .recoveries = {record}},
                                                       {.run_id = "other", .recoveries = {make_recovery("other")}}})));
    }
    const auto reasons = [this](std::size_t limit) {
        std::string all;
        const auto records = store().recovery_log("run", limit, soon()).value();
        for (const RecoveryRecord& record : records) all += record.failure_reason;
        return all;
    };
    EXPECT_EQ(reasons(100), "54321");
    EXPECT_EQ(reasons(kAll), "54321");
    EXPECT_EQ(reasons(2), "54");
    EXPECT_EQ(reasons(0), "");
}

// ---- the whole store ----

TEST_P(StoreConformance, AnEmptyStoreListsNothing) {
    EXPECT_TRUE(all_runs(store()).empty());
    EXPECT_TRUE(all_threads(store()).empty());
    const StoreStats stats = store().stats(soon()).value();
    EXPECT_EQ(stats.runs + stats.threads + stats.snapshots + stats.state_bytes + stats.payload_bytes, 0U);
    const CheckReport report = store().check(soon()).value();
    EXPECT_EQ(report.runs + report.snapshots, 0U);
    EXPECT_TRUE(report.findings.empty());
}

TEST_P(StoreConformance, StatsCountWhatIsStored) {
    ASSERT_TRUE(is_ok(commit(owned("1", 1, "t", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("2", 1, "t", "u"))));
    ASSERT_TRUE(is_ok(commit(owned("3", 1, "s", "u"))));
    Snapshot large = owned("3", 2, "s", "u");
    large.frame = std::string(1000, 'f');
    large.info.state_bytes = 1ULL << 40;
    ASSERT_TRUE(is_ok(commit(large)));

    const Snapshot small = make_snapshot("1", 1);
    const StoreStats stats = store().stats(soon()).value();
    EXPECT_EQ(stats.runs, 3U);
    EXPECT_EQ(stats.threads, 2U);
    EXPECT_EQ(stats.snapshots, 4U);
    EXPECT_EQ(stats.state_bytes, 3 * small.info.state_bytes + (1ULL << 40));
    EXPECT_EQ(stats.payload_bytes, 3 * small.frame.size() + 1000);
    if (is_durable()) {
        EXPECT_GT(stats.store_bytes, stats.payload_bytes);
    } else {
        EXPECT_EQ(stats.store_bytes, 0U);
    }
}

TEST_P(StoreConformance, StatsTellWhereTheBytesGo) {
    add_chain("a", {0, 1, 2, 0, 4});
    add_chain("b", {0, 1});
    Snapshot fork = make_delta("b", 3, 1);
    fork.info.parent_version = 1;
    ASSERT_TRUE(is_ok(commit(fork)));
    const StoreStats stats = store().stats(soon()).value();
    EXPECT_EQ(stats.delta_frames, 5U);
    EXPECT_EQ(stats.delta_bytes, 5U * frame_of("a", 2, 1).size());
    EXPECT_EQ(stats.payload_bytes, 8U * frame_of("a", 2, 1).size());
    EXPECT_EQ(stats.chain_frames_max, 3U);
    EXPECT_EQ(stats.forks, 1U);

    RunBatch batch{.run_id = "a", .deletions = {{.version = 3}, {.version = 5}}};
    batch.writes.push_back({.snapshot = make_delta("a", 6, 4), .expected_version = 5});
    batch.rewrites.push_back({.version = 2, .frame = "full"});
    ASSERT_TRUE(is_ok(commit(batch)));
    EXPECT_EQ(store().stats(soon()).value().delta_frames, 3U);
    EXPECT_EQ(store().stats(soon()).value().chain_frames_max, 2U);
}

TEST_P(StoreConformance, ASoundStoreHasNoFindings) {
    add_versions("a", 1, 5);
    add_versions("b", 1, 2);
    ASSERT_TRUE(is_ok(commit(std::vector<RunBatch>{{.run_id = "a", .recoveries = {make_recovery("a")}},
                                                   {.run_id = "no run", .recoveries = {make_recovery("no run")}}})));
    const CheckReport report = store().check(soon()).value();
    EXPECT_EQ(report.runs, 2U);
    EXPECT_EQ(report.snapshots, 7U);
    for (const CheckReport::Finding& finding : report.findings) ADD_FAILURE() << finding.problem;
}

}  // namespace
}  // namespace cairn::test
