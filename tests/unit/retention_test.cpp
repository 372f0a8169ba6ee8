// Goal: retention deletes exactly the snapshots that the policy or the target lets go, and counts what it does.
// Everything that remains loads to the text that was saved.
// Method: runs with real chains of frames on the memory store, with a case for each rule.

#include <cairn/retention.h>

#include "frame/delta_frame.h"
#include "support/temp_dir.h"
#include "unit/retention_bench.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

namespace cairn {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using test::ChainedRun;
using test::expect_intact;
using test::history;
using test::range;
using test::Versions;
using test::versions_in;

class RetentionTest : public test::RetentionBench {};

TEST_F(RetentionTest, TheOldestOfALongRunCostOneRewrite) {
    run.append_line(300);
    const RetentionReport report = prune_all({.keep_last = 200}, options);
    EXPECT_EQ(report.runs_examined, 1U);
    EXPECT_EQ(report.snapshots_deleted, 100U);
    EXPECT_EQ(report.snapshots_rewritten, 1U);
    EXPECT_FALSE(report.was_cancelled);
    EXPECT_EQ(versions_in(*memory, "run"), range(101, 300));
    EXPECT_EQ(chain_frames(101), 1U);
    EXPECT_EQ(chain_frames(300), 200U);
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, BytesInTheReportAreThoseOfTheStore) {
    run.append_line(30);
    const std::uint64_t before = memory->stats(test::soon()).value().payload_bytes;
    RetentionReport report = prune_all({.keep_last = 12}, options);
    EXPECT_GT(report.frame_bytes_added, 0U);
    EXPECT_EQ(memory->stats(test::soon()).value().payload_bytes,
              before - report.frame_bytes_deleted + report.frame_bytes_added);
    report = prune_all({.keep_last = 12}, options);
    EXPECT_EQ(report.snapshots_deleted, 0U);
    EXPECT_EQ(report.frame_bytes_deleted, 0U);
}

TEST_F(RetentionTest, AGapIsBridgedByADelta) {
    for (int i = 1; i <= 9; ++i) {
        run.append(i - 1, [i](SnapshotInfo& info) {
            if (i == 4 || i == 5 || i == 6) info.expires_at = test::kEpoch;
        });
    }
    const RetentionReport report = prune_all({.expired = true}, options);
    EXPECT_EQ(report.snapshots_deleted, 3U);
    EXPECT_EQ(report.snapshots_rewritten, 1U);
    EXPECT_EQ(history(*memory, "run")[3].base_version, 3) << "version 7 now needs 3";
    EXPECT_EQ(chain_frames(9), 6U);
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, ASnapshotWhoseDeltaWouldExceedTheLimitsBecomesSelfContained) {
    for (int i = 1; i <= 9; ++i) {
        run.append(i - 1, [i](SnapshotInfo& info) {
            if (i == 8) info.expires_at = test::kEpoch;
        });
    }
    options.chain_limits.frames_max = 7;
    EXPECT_EQ(prune_all({.expired = true}, options).snapshots_rewritten, 1U);
    EXPECT_EQ(chain_frames(9), 1U);
    EXPECT_EQ(chain_frames(7), 7U);
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, ForksOfADeletedBaseLeanOnTheFirstOfThem) {
    run.append();
    for (int i = 0; i < 5; ++i) run.append(1);
    const RetentionReport report = prune_all({.keep_last = 5}, options);
    EXPECT_EQ(report.snapshots_rewritten, 5U);
    EXPECT_EQ(chain_frames(2), 1U);
    for (std::int64_t version = 3; version <= 6; ++version) EXPECT_EQ(chain_frames(version), 2U);
    expect_intact(*memory, run);
}

std::string unrelated_text(std::uint64_t seed, std::size_t bytes) {
    std::mt19937_64 random(seed);
    std::string text = R"({"a":")";
    while (text.size() < bytes) text += fmt::format("{:016x}", random());
    return text + "\"}";
}

TEST_F(RetentionTest, FewFramesOfForksAreHeldAtATimeHoweverManyABaseHas) {
    constexpr std::size_t kBytes = 1U << 20;
    std::string base_text;
    for (std::int64_t version = 1; version <= 32; ++version) {
        const std::string text = unrelated_text(static_cast<std::uint64_t>(version), kBytes);
        Snapshot snapshot = test::make_snapshot("large", version, text);
        if (version == 1) {
            base_text = text;
        } else {
            snapshot.info.base_version = 1;
            snapshot.frame = encode_delta_frame(base_text, text, FrameOptions{}, 2 * kBytes).value().value();
        }
        ASSERT_TRUE(commit_run(*memory, test::make_batch(std::move(snapshot)), test::soon()));
    }
    std::size_t most = 0;
    store->before_commit([&](std::span<const RunBatch> batches) {
        std::size_t bytes = 0;
        for (const FrameRewrite& rewrite : batches.front().rewrites) bytes += rewrite.frame.size();
        most = std::max(most, bytes);
    });
    const RetentionReport report = prune_all({.keep_last = 31}, options);
    EXPECT_EQ(report.snapshots_rewritten, 31U);
    EXPECT_GT(report.frame_bytes_added, 12U << 20);
    EXPECT_LT(most, 9U << 20);
    for (std::int64_t version = 2; version <= 32; ++version) {
        const auto loaded = load_snapshot(*memory, {.run_id = "large", .snapshot_id = fmt::format("large-{}", version)},
                                          StateLimits{}, test::soon());
        ASSERT_TRUE(loaded) << loaded.error().to_string();
        EXPECT_EQ(loaded->state.text(), unrelated_text(static_cast<std::uint64_t>(version), kBytes));
    }
}

TEST_F(RetentionTest, AgeAndExpiryGoByTheClockThatIsGiven) {
    run.append_line(10);  // version n was created n seconds after the epoch
    const auto clock = std::make_shared<test::StepClock>(microseconds(0), test::kEpoch + seconds(10));
    options.runtime.clock = clock;
    EXPECT_EQ(prune_all({.age_max = seconds(9)}, options).snapshots_deleted, 0U);
    EXPECT_EQ(prune_all({.age_max = seconds(4)}, options).snapshots_deleted, 5U);
    clock->set(test::kEpoch + seconds(1'000'000));
    EXPECT_EQ(prune_all({.age_max = seconds(4)}, options).snapshots_deleted, 4U);
    EXPECT_EQ(versions_in(*memory, "run"), Versions{10});
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, RecoveryPointsStayUnlessNamed) {
    for (int i = 1; i <= 8; ++i) {
        run.append(i - 1, [i](SnapshotInfo& info) {
            info.is_recovery_point = i == 3;
            if (i == 5) info.checkpoint_type = CheckpointType::kRecovery;
        });
    }
    prune_all({.keep_last = 1}, options);
    EXPECT_EQ(versions_in(*memory, "run"), (Versions{3, 8})) << "the type alone does not make a recovery point";
    expect_intact(*memory, run);
    prune_all({.keep_last = 1, .include_recovery_points = true}, options);
    EXPECT_EQ(versions_in(*memory, "run"), Versions{8});
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, OnlyRunsOfTheGivenOwnersArePruned) {
    std::deque<ChainedRun> runs;
    for (const auto& [run_id, user] : {std::pair("a", "ann"), {"b", "bob"}, {"c", "ann"}}) {
        runs.emplace_back(*memory, run_id, user).append_line(3);
    }
    EXPECT_EQ(prune_all({.keep_last = 1, .user_id = "ann"}, options).runs_examined, 2U);
    EXPECT_EQ(versions_in(*memory, "a"), Versions{3});
    EXPECT_EQ(versions_in(*memory, "b"), range(1, 3));
    EXPECT_EQ(prune_all({.keep_last = 1, .run_id = "b", .user_id = "ann"}, options).runs_examined, 0U);
    EXPECT_EQ(prune_all({.keep_last = 1, .thread_id = "other"}, options).runs_examined, 0U);
    EXPECT_EQ(prune_all({.keep_last = 1, .run_id = "nobody's"}, options).runs_examined, 0U);
    EXPECT_EQ(versions_in(*memory, "b"), range(1, 3));
    EXPECT_EQ(prune_all({.keep_last = 1, .run_id = "b", .thread_id = "thread"}, options).snapshots_deleted, 2U);
    EXPECT_EQ(versions_in(*memory, "b"), Versions{3});
}

TEST_F(RetentionTest, MoreRunsThanAPageHoldsAreAllVisited) {
    std::deque<ChainedRun> runs;
    for (int i = 0; i < 230; ++i) runs.emplace_back(*memory, fmt::format("run{}", i)).append_line(2);
    const RetentionReport report = prune_all({.keep_last = 1}, options);
    EXPECT_EQ(report.runs_examined, 230U);
    EXPECT_EQ(report.snapshots_deleted, 230U);
    EXPECT_EQ(delete_runs(*store, {.user_id = "user"}, options).value().runs_deleted, 230U);
    EXPECT_EQ(memory->stats(test::soon()).value().snapshots, 0U);
}

TEST_F(RetentionTest, ARehearsalCountsWhatThenHappens) {
    run.append_line(40);
    const RetentionPolicy policy{.keep_last = 11};
    options.snapshots_per_commit = 7;
    RetentionOptions rehearsal = options;
    rehearsal.dry_run = true;
    const RetentionReport counted = prune_all(policy, rehearsal);
    EXPECT_EQ(store->calls(StoreCall::kCommit), 0U);
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 40));
    const RetentionReport done = prune_all(policy, options);
    EXPECT_EQ(counted.snapshots_deleted, 29U);
    EXPECT_EQ(counted.snapshots_deleted, done.snapshots_deleted);
    EXPECT_EQ(counted.snapshots_rewritten, done.snapshots_rewritten);
    EXPECT_EQ(counted.frame_bytes_deleted, done.frame_bytes_deleted);
    EXPECT_EQ(counted.frame_bytes_added, done.frame_bytes_added);

    rehearsal.snapshots_per_commit = 4;
    const RetentionReport run_counted = delete_runs(*store, {.run_id = "run"}, rehearsal).value();
    EXPECT_EQ(versions_in(*memory, "run"), range(30, 40));
    const RetentionReport run_done = delete_runs(*store, {.run_id = "run"}, options).value();
    EXPECT_EQ(run_counted.runs_deleted, 1U);
    EXPECT_EQ(run_counted.snapshots_deleted, 11U);
    EXPECT_EQ(run_done.snapshots_deleted, 11U);
    EXPECT_EQ(run_counted.frame_bytes_deleted, run_done.frame_bytes_deleted);
}

TEST_F(RetentionTest, TransactionsStayAsShortAsAsked) {
    run.append_line(50);
    std::size_t largest = 0;
    store->before_commit([&](std::span<const RunBatch> batches) {
        largest = std::max(largest, batches.front().deletions.size() + batches.front().rewrites.size());
    });
    options.snapshots_per_commit = 6;
    prune_all({.keep_last = 1}, options);
    EXPECT_EQ(largest, 6U);
    EXPECT_EQ(store->calls(StoreCall::kCommit), 9U) << "49 deletions and a rewrite";
}

TEST_F(RetentionTest, ProgressGrowsAndEndsAtTheReport) {
    run.append_line(20);
    ChainedRun second(*memory, "second");
    second.append_line(20);
    options.snapshots_per_commit = 5;
    std::vector<RetentionProgress> told;
    options.progress = [&](const RetentionProgress& progress) { told.push_back(progress); };
    const RetentionReport report = prune_all({.keep_last = 2}, options);
    ASSERT_GT(told.size(), 8U);
    EXPECT_TRUE(std::ranges::is_sorted(told, {}, &RetentionProgress::snapshots_deleted));
    EXPECT_TRUE(std::ranges::is_sorted(told, {}, &RetentionProgress::runs_done));
    EXPECT_EQ(told.back().runs_done, 2U);
    EXPECT_EQ(told.back().runs, 2U);
    EXPECT_EQ(told.back().snapshots_deleted, report.snapshots_deleted);
}

TEST_F(RetentionTest, CancelledAnywhereItStopsThereAndCanBeFinishedLater) {
    run.append_line(30);
    options.snapshots_per_commit = 4;
    for (int allowed = 0;; ++allowed) {
        RetentionOptions cancelled = options;
        cancelled.is_cancelled = [asked = 0, allowed]() mutable { return ++asked > allowed; };
        const RetentionReport report = prune_all({.keep_last = 3}, cancelled);
        expect_intact(*memory, run);
        ASSERT_FALSE(testing::Test::HasFailure());
        if (!report.was_cancelled) break;
        ASSERT_LT(allowed, 100);
        ASSERT_TRUE(allowed > 0 || store->calls(StoreCall::kCommit) == 0);
    }
    EXPECT_EQ(versions_in(*memory, "run"), range(28, 30));
}

TEST_F(RetentionTest, ImpossibleRulesAreInvalid) {
    EXPECT_EQ(prune(*store, {.keep_last = 0}).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(prune(*store, {.age_max = microseconds(-1)}).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(prune(*store, {}, {.snapshots_per_commit = 0}).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(delete_runs(*store, {}).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(delete_runs(*store, {.run_id = "run"}, {.snapshots_per_commit = 0}).error().code,
              ErrorCode::kInvalidArgument);
}

TEST_F(RetentionTest, ACallbackThatThrowsIsAnErrorValue) {
    run.append_line(3);
    options.progress = [](const RetentionProgress&) { throw std::runtime_error("from the test"); };
    EXPECT_EQ(prune(*store, {.keep_last = 1}, options).error().code, ErrorCode::kInternal);
    expect_intact(*memory, run);
}

// ---- whole runs ----

TEST_F(RetentionTest, ARunIsDeletedWithAllThatIsInIt) {
    for (int i = 1; i <= 25; ++i)
        run.append(i % 5 == 0 ? 0 : i - 1, [](SnapshotInfo& info) { info.is_recovery_point = true; });
    RunBatch log{.run_id = "run"};
    log.recoveries.push_back({.run_id = "run", .result = "recovered"});
    ASSERT_TRUE(commit_run(*memory, log, test::soon()));
    ChainedRun other(*memory, "other");
    other.append_line(3);
    options.snapshots_per_commit = 4;
    std::size_t rewrites = 0;
    store->before_commit([&](std::span<const RunBatch> batches) { rewrites += batches.front().rewrites.size(); });

    const RetentionReport report = delete_runs(*store, {.run_id = "run", .user_id = "user"}, options).value();
    EXPECT_EQ(report.runs_deleted, 1U);
    EXPECT_EQ(report.snapshots_deleted, 25U);
    EXPECT_EQ(rewrites, 0U);
    EXPECT_FALSE(memory->head("run", test::soon()).value());
    EXPECT_TRUE(memory->recovery_log("run", 10, test::soon()).value().empty());
    EXPECT_EQ(versions_in(*memory, "other"), range(1, 3));
}

TEST_F(RetentionTest, ARunCutShortInItsDeletionStillLoads) {
    for (int i = 1; i <= 25; ++i) run.append(i % 5 == 0 ? 0 : i - 1);
    options.snapshots_per_commit = 4;
    options.is_cancelled = [asked = 0]() mutable { return ++asked > 4; };
    const RetentionReport report = delete_runs(*store, {.run_id = "run"}, options).value();
    EXPECT_TRUE(report.was_cancelled);
    EXPECT_GT(report.snapshots_deleted, 0U);
    EXPECT_EQ(report.runs_deleted, 0U);
    EXPECT_EQ(memory->head("run", test::soon()).value().value().version, 25);
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, ARunThatGrowsWhileItIsDeletedIsDeleted) {
    for (int i = 1; i <= 25; ++i) run.append(i % 5 == 0 ? 0 : i - 1);
    options.snapshots_per_commit = 4;
    int saves = 0;
    store->before_commit([&](std::span<const RunBatch> batches) {
        const RunBatch& batch = batches.front();
        if (batch.deletions.empty()) return;
        run.append(saves % 2 == 0 ? batch.deletions.front().version : run.newest());
        if (++saves == 7) store->before_commit(nullptr);
    });
    EXPECT_EQ(delete_runs(*store, {.run_id = "run"}, options).value().runs_deleted, 1U);
    EXPECT_EQ(saves, 7);
    EXPECT_FALSE(memory->head("run", test::soon()).value());
}

TEST_F(RetentionTest, RunsOfOtherOwnersAreNotFoundAndNotTouched) {
    run.append_line(2);
    for (const DeletionTarget& target : {DeletionTarget{.run_id = "other"},
                                         {.run_id = "run", .user_id = "other"},
                                         {.run_id = "run", .thread_id = "other"},
                                         {.user_id = "other"},
                                         {.thread_id = "other"}}) {
        EXPECT_EQ(delete_runs(*store, target, options).error().code, ErrorCode::kNotFound);
    }
    EXPECT_EQ(store->calls(StoreCall::kCommit), 0U);
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 2));
}

// ---- space ----

TEST(RetentionOnSqlite, SpaceIsGivenBackToTheFileSystem) {
    const test::TempDir dir;
    const auto store = open_store(dir.sqlite_url()).value();
    ChainedRun kept(*store, "kept");
    kept.append_line(20);
    {
        RunBatch batch{.run_id = "large"};  // some 700 KB
        for (std::int64_t version = 1; version <= 1000; ++version) {
            const std::string text = ChainedRun::text_of("large", version);
            batch.writes.push_back(test::make_write(test::make_snapshot("large", version, text)));
        }
        ASSERT_TRUE(commit_run(*store, batch, test::soon()));
    }
    const std::uint64_t before = store->stats(test::soon()).value().store_bytes;
    const RetentionReport pruned = prune(*store, {.keep_last = 500, .run_id = "large"}).value();
    const RetentionReport deleted = delete_runs(*store, {.run_id = "large"}).value();
    const std::uint64_t after = store->stats(test::soon()).value().store_bytes;
    EXPECT_GT(pruned.store_bytes_returned, 300'000U);
    EXPECT_GT(deleted.store_bytes_returned, 300'000U);
    EXPECT_LT(after, before / 4);
    expect_intact(*store, kept);
}

}  // namespace
}  // namespace cairn
