// Goal: whatever retention deletes, whatever happens to it on the way and whoever writes meanwhile, all that remains
// loads to the very text that was saved, and exactly what the policy lets go is gone.
// Method: runs with real chains of frames on the memory store: by hand, at random against a model, with other writers
// between plan and commit, with damage, and with every call failing in turn before and after its effect.

#include <cairn/retention.h>

#include "frame/delta_frame.h"
#include "store/memory/memory_store.h"
#include "support/chained_run.h"
#include "support/faulty_store.h"
#include "support/make.h"
#include "support/seed.h"
#include "support/temp_dir.h"

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
using test::StoreCall;
using test::Versions;
using test::versions_in;

Versions range(std::int64_t first, std::int64_t last) {
    Versions versions;
    for (; first <= last; ++first) versions.push_back(first);
    return versions;
}

class RetentionTest : public testing::Test {
protected:
    RetentionReport prune_all(const RetentionPolicy& policy, const RetentionOptions& with) {
        const Result<RetentionReport> report = prune(*store, policy, with);
        EXPECT_TRUE(report) << report.error().to_string();
        return report.value_or(RetentionReport{});
    }
    std::size_t chain_frames(std::int64_t version) {
        return memory->get("run", fmt::format("run-{}", version)).value().value().bases.size() + 1;
    }

    std::shared_ptr<Store> memory = make_memory_store();
    std::shared_ptr<test::FaultyStore> store = std::make_shared<test::FaultyStore>(memory);
    ChainedRun run{*memory, "run"};
    RetentionOptions options{.runtime = test::make_runtime()};
};

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
    const std::uint64_t before = memory->stats().value().payload_bytes;
    RetentionReport report = prune_all({.keep_last = 12}, options);
    EXPECT_GT(report.frame_bytes_added, 0U);
    EXPECT_EQ(memory->stats().value().payload_bytes, before - report.frame_bytes_deleted + report.frame_bytes_added);
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

TEST_F(RetentionTest, WhereADeltaWouldExceedTheLimitsItBecomesSelfContained) {
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

TEST_F(RetentionTest, HoweverManyForksABaseHasFewOfTheirFramesAreHeldAtATime) {
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
        ASSERT_TRUE(memory->commit(test::make_batch(std::move(snapshot)), test::soon()));
    }
    std::size_t most = 0;
    store->before_commit([&](const Batch& batch) {
        std::size_t bytes = 0;
        for (const FrameRewrite& rewrite : batch.rewrites) bytes += rewrite.frame.size();
        most = std::max(most, bytes);
    });
    const RetentionReport report = prune_all({.keep_last = 31}, options);
    EXPECT_EQ(report.snapshots_rewritten, 31U);
    EXPECT_GT(report.frame_bytes_added, 12U << 20);
    EXPECT_LT(most, 9U << 20);
    for (std::int64_t version = 2; version <= 32; ++version) {
        const auto loaded =
            load_snapshot(*memory, {.run_id = "large", .snapshot_id = fmt::format("large-{}", version)}, StateLimits{});
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
    EXPECT_EQ(memory->stats().value().snapshots, 0U);
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
    store->before_commit(
        [&](const Batch& batch) { largest = std::max(largest, batch.deletions.size() + batch.rewrites.size()); });
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

TEST_F(RetentionTest, WhatMakesNoSenseIsInvalid) {
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
    Batch log;
    log.recoveries.push_back({.run_id = "run", .result = "recovered"});
    ASSERT_TRUE(memory->commit(log, test::soon()));
    ChainedRun other(*memory, "other");
    other.append_line(3);
    options.snapshots_per_commit = 4;
    std::size_t rewrites = 0;
    store->before_commit([&](const Batch& batch) { rewrites += batch.rewrites.size(); });

    const RetentionReport report = delete_runs(*store, {.run_id = "run", .user_id = "user"}, options).value();
    EXPECT_EQ(report.runs_deleted, 1U);
    EXPECT_EQ(report.snapshots_deleted, 25U);
    EXPECT_EQ(rewrites, 0U);
    EXPECT_FALSE(memory->head("run").value());
    EXPECT_TRUE(memory->recovery_log("run", 10).value().empty());
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
    EXPECT_EQ(memory->head("run").value().value().version, 25);
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, ARunThatGrowsWhileItIsDeletedIsDeleted) {
    for (int i = 1; i <= 25; ++i) run.append(i % 5 == 0 ? 0 : i - 1);
    options.snapshots_per_commit = 4;
    int saves = 0;
    store->before_commit([&](const Batch& batch) {
        if (batch.deletions.empty()) return;
        run.append(saves % 2 == 0 ? batch.deletions.front().version : run.newest());
        if (++saves == 7) store->before_commit(nullptr);
    });
    EXPECT_EQ(delete_runs(*store, {.run_id = "run"}, options).value().runs_deleted, 1U);
    EXPECT_EQ(saves, 7);
    EXPECT_FALSE(memory->head("run").value());
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

// ---- other writers ----

TEST_F(RetentionTest, AHeadSavedBeforeEachCommitIsKeptEvenIfItNeedsWhatWasToGo) {
    run.append_line(12);
    options.snapshots_per_commit = 3;
    int saves = 0;
    store->before_commit([&](const Batch& batch) {
        if (saves == 8 || batch.deletions.empty()) return;
        run.append(batch.deletions.front().version);
        ++saves;
    });
    const RetentionReport report = prune_all({.keep_last = 4}, options);
    EXPECT_EQ(saves, 8);
    EXPECT_GT(report.snapshots_deleted, 0U);
    EXPECT_EQ(versions_in(*memory, "run"), range(17, 20));
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, TwoPrunersOfOneRunAgree) {
    run.append_line(30);
    options.snapshots_per_commit = 4;
    RetentionOptions rival = options;
    rival.snapshots_per_commit = 3;
    bool is_rival_at_work = false;
    store->before_commit([&](const Batch&) {
        if (std::exchange(is_rival_at_work, true)) return;
        EXPECT_TRUE(prune(*memory, {.keep_last = 3}, rival));
    });
    prune_all({.keep_last = 5}, options);
    EXPECT_EQ(versions_in(*memory, "run"), range(28, 30));
    expect_intact(*memory, run);
}

/// Lets somebody else do something before the first `get`.
class InterruptedStore final : public ForwardingStore {
public:
    InterruptedStore(std::shared_ptr<Store> next, std::function<void()> interruption)
        : ForwardingStore(std::move(next)), interruption_(std::move(interruption)) {}
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id) override {
        if (interruption_) std::exchange(interruption_, nullptr)();
        return next().get(run_id, snapshot_id);
    }

private:
    std::function<void()> interruption_;
};

TEST_F(RetentionTest, ARehearsalBesideAnotherPrunerCountsWhatIsLeft) {
    for (int i = 1; i <= 20; ++i) {
        run.append(i == 19 ? 17 : i - 1, [i](SnapshotInfo& info) {
            if (i == 15 || i == 18) info.expires_at = test::kEpoch;
        });
    }
    // 18 has been counted by then; 15 and older are gone when it is read again.
    InterruptedStore interrupted(memory, [&] { EXPECT_TRUE(prune(*memory, {.keep_last = 5})); });
    options.dry_run = true;
    options.snapshots_per_commit = 1;
    const RetentionReport report = prune(interrupted, {.keep_last = 7, .expired = true}, options).value();
    EXPECT_EQ(report.snapshots_deleted, 1U);
    EXPECT_EQ(versions_in(*memory, "run"), range(16, 20));
}

TEST_F(RetentionTest, ARunDeletedAndMadeAnewMeanwhileIsAnotherRun) {
    run.append_line(10);
    ChainedRun anew(*memory, "run", "another user");
    store->before_commit([&](const Batch&) {
        if (anew.newest() != 0) return;
        EXPECT_TRUE(delete_runs(*memory, {.run_id = "run"}));
        for (int i = 1; i <= 12; ++i) {
            anew.append(i - 1, [i](SnapshotInfo& info) { info.snapshot_id = fmt::format("anew-{}", i); });
        }
    });
    EXPECT_EQ(prune_all({.keep_last = 3}, options).snapshots_rewritten, 0U);
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 12));
    expect_intact(*memory, anew);
}

TEST_F(RetentionTest, ARunMadeAnewByAnotherUserWhileItIsDeletedIsNotDeleted) {
    run.append_line(3);
    ChainedRun anew(*memory, "run", "another user");
    store->before_commit([&](const Batch&) {
        if (anew.newest() != 0) return;
        EXPECT_TRUE(delete_runs(*memory, {.run_id = "run"}));
        for (int i = 1; i <= 4; ++i) {
            anew.append(i - 1, [i](SnapshotInfo& info) { info.snapshot_id = fmt::format("anew-{}", i); });
        }
    });
    EXPECT_EQ(delete_runs(*store, {.run_id = "run"}, options).value().runs_deleted, 0U);
    EXPECT_EQ(anew.newest(), 4);
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 4));
    expect_intact(*memory, anew);
}

TEST_F(RetentionTest, ConflictsWithoutEndEndAtTheTimeout) {
    run.append_line(4);
    store->inject({.code = ErrorCode::kConflict, .for_good = true});
    options.timeout = std::chrono::milliseconds(20);
    EXPECT_EQ(prune(*store, {.keep_last = 1}, options).error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 4));
}

TEST_F(RetentionTest, AnOutcomeThatRemainsUnknownIsToldAsSuch) {
    run.append_line(4);
    store->inject({.code = ErrorCode::kOutcomeUnknown, .for_good = true});
    EXPECT_EQ(prune(*store, {.keep_last = 1}, options).error().code, ErrorCode::kOutcomeUnknown);
    expect_intact(*memory, run);
}

// ---- damage ----

// The snapshot's frame becomes something that does not decode.
void damage(Store& store, const ChainedRun& run, std::int64_t version) {
    const SnapshotInfo info = history(store, run.run_id()).at(static_cast<std::size_t>(version - 1));
    Snapshot snapshot = store.get(run.run_id(), info.snapshot_id).value().value();
    snapshot.frame.back() = static_cast<char>(snapshot.frame.back() ^ 1);
    Batch batch;
    batch.rewrites.push_back({.run_id = run.run_id(),
                              .version = version,
                              .base_version = info.base_version,
                              .frame = std::move(snapshot.frame)});
    ASSERT_TRUE(store.commit(batch, test::soon()));
}

TEST_F(RetentionTest, ADamagedSnapshotThatNobodyNeedsIsDeleted) {
    run.append_line(5);
    run.append();
    damage(*memory, run, 3);
    EXPECT_EQ(prune_all({.keep_last = 1}, options).snapshots_deleted, 5U);
    expect_intact(*memory, run);
}

TEST_F(RetentionTest, ADamagedSnapshotThatWouldHaveToBeRewrittenStopsItsRunAndNoOther) {
    ChainedRun healthy(*memory, "healthy");
    healthy.append_line(6);
    run.append_line(12);
    ChainedRun healthy_too(*memory, "healthy too");
    healthy_too.append_line(6);
    damage(*memory, run, 9);
    options.snapshots_per_commit = 2;
    std::vector<std::string> logged;
    options.runtime.log = [&](const LogRecord& record) { logged.emplace_back(record.event); };

    const Result<RetentionReport> report = prune(*store, {.keep_last = 4}, options);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(report.error().message.find("snapshot run-9"), std::string::npos) << report.error().to_string();
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 12)) << "nothing may be deleted that 9 could still be mended from";
    EXPECT_EQ(versions_in(*memory, "healthy"), range(3, 6));
    EXPECT_EQ(versions_in(*memory, "healthy too"), range(3, 6));
    EXPECT_EQ(logged, std::vector<std::string>{"retention_damage"});

    RetentionOptions rehearsal = options;
    rehearsal.dry_run = true;
    EXPECT_EQ(prune(*store, {.keep_last = 4}, rehearsal).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(delete_runs(*store, {.run_id = "run"}, options).value().snapshots_deleted, 12U);
}

TEST_F(RetentionTest, ADamagedBaseThatIsOnlyOfferedIsDoneWithout) {
    run.append();
    run.append(0, [](SnapshotInfo& info) { info.expires_at = test::kEpoch; });
    run.append(2);
    damage(*memory, run, 1);
    EXPECT_EQ(prune_all({.expired = true}, options).snapshots_rewritten, 1U);
    EXPECT_EQ(chain_frames(3), 1U) << "1 is the newest self-contained one before it";
    const auto loaded = load_snapshot(*memory, {.run_id = "run"}, StateLimits{});
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    EXPECT_EQ(loaded->state.text(), run.texts().at(3));
}

// ---- space ----

TEST(RetentionOnSqlite, SpaceIsGivenBackToTheFileSystem) {
    const test::TempDir dir;
    const auto store = open_store(dir.sqlite_url()).value();
    ChainedRun kept(*store, "kept");
    kept.append_line(20);
    {
        Batch batch;  // some 700 KB
        for (std::int64_t version = 1; version <= 1000; ++version) {
            const std::string text = ChainedRun::text_of("large", version);
            batch.writes.push_back(test::make_write(test::make_snapshot("large", version, text)));
        }
        ASSERT_TRUE(store->commit(batch, test::soon()));
    }
    const std::uint64_t before = store->stats().value().store_bytes;
    const RetentionReport pruned = prune(*store, {.keep_last = 500, .run_id = "large"}).value();
    const RetentionReport deleted = delete_runs(*store, {.run_id = "large"}).value();
    const std::uint64_t after = store->stats().value().store_bytes;
    EXPECT_GT(pruned.store_bytes_returned, 300'000U);
    EXPECT_GT(deleted.store_bytes_returned, 300'000U);
    EXPECT_LT(after, before / 4);
    expect_intact(*store, kept);
}

// ---- a model, and faults ----

struct RandomWorld {
    explicit RandomWorld(std::uint64_t seed) : random(seed) {}

    std::size_t below(std::size_t limit) { return static_cast<std::size_t>(random() % limit); }

    void add_run(Store& store) {
        ChainedRun& run = runs.emplace_back(store, fmt::format("run{}", runs.size()));
        const std::size_t length = 1 + below(25);
        for (std::size_t i = 0; i < length; ++i) {
            std::int64_t base = run.newest();
            if (below(6) == 0) base = 0;
            if (base != 0 && below(4) == 0) base = 1 + static_cast<std::int64_t>(below(i));
            const bool is_recovery_point = below(8) == 0;
            const bool expires = below(3) == 0;
            const auto expiry = test::kEpoch + seconds(below(30));
            run.append(base, [&](SnapshotInfo& info) {
                info.is_recovery_point = is_recovery_point;
                if (expires) info.expires_at = expiry;
            });
        }
    }
    RetentionPolicy policy() {
        RetentionPolicy made{.expired = below(2) == 0, .include_recovery_points = below(3) == 0};
        if (below(2) == 0) made.keep_last = 1 + below(12);
        if (below(2) == 0) made.age_max = seconds(below(30));
        return made;
    }

    std::mt19937_64 random;
    std::deque<ChainedRun> runs;
};

// Told anew, in other words than the library's.
Versions survivors(const std::vector<SnapshotInfo>& all, const RetentionPolicy& policy, Timestamp now) {
    Versions left;
    std::size_t rank = all.size();
    for (const SnapshotInfo& info : all) {
        --rank;  // 0: the head
        bool stays = true;
        if (policy.keep_last && rank >= *policy.keep_last) stays = false;
        if (policy.age_max && now - info.created_at > *policy.age_max) stays = false;
        if (policy.expired && info.expires_at && !(now < *info.expires_at)) stays = false;
        if (info.is_recovery_point && !policy.include_recovery_points) stays = true;
        if (stays || rank == 0) left.push_back(info.version);
    }
    return left;
}

TEST(RetentionModel, RandomTreesAndPoliciesLeaveExactlyTheSurvivorsAndAllLoad) {
    const std::uint64_t first = test::seed();
    for (std::uint64_t seed = first; seed < first + 150; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        RandomWorld world(seed);
        const auto store = make_memory_store();
        for (std::size_t n = 1 + world.below(3); n > 0; --n) world.add_run(*store);
        const Timestamp now = test::kEpoch + seconds(20);
        for (int round = 0; round < 3; ++round) {
            const RetentionPolicy policy = world.policy();
            std::vector<Versions> expected;
            for (const ChainedRun& run : world.runs) {
                expected.push_back(survivors(history(*store, run.run_id()), policy, now));
            }
            RetentionOptions options{.snapshots_per_commit = 1 + world.below(12)};
            options.runtime.clock = std::make_shared<test::StepClock>(microseconds(0), now);
            ASSERT_TRUE(prune(*store, policy, options));
            for (std::size_t i = 0; i < world.runs.size(); ++i) {
                ASSERT_EQ(versions_in(*store, world.runs[i].run_id()), expected[i]);
                expect_intact(*store, world.runs[i]);
            }
            if (testing::Test::HasFailure()) return;
        }
    }
}

struct FaultKind {
    StoreCall call;
    ErrorCode code;
    bool after_effect;
};

class RetentionFault : public testing::TestWithParam<FaultKind> {};

// Fails the 1st, 2nd, 3rd … call until a whole prune passes without meeting the fault.
TEST_P(RetentionFault, AtAnyCallLeavesAllLoadableAndTheNextPruneFinishes) {
    const auto [call, code, after_effect] = GetParam();
    std::uint64_t nth = 0;
    for (bool has_met = true; has_met;) {
        SCOPED_TRACE(fmt::format("call {}", ++nth));
        ASSERT_LT(nth, 200U);
        const auto memory = make_memory_store();
        const auto store = std::make_shared<test::FaultyStore>(memory);
        ChainedRun run(*memory, "run");
        for (int i = 1; i <= 24; ++i) {
            run.append(i % 7 == 0 ? i - 3 : i - 1, [i](SnapshotInfo& info) {
                if (i % 4 == 1) info.expires_at = test::kEpoch;
            });
        }
        const RetentionPolicy policy{.age_max = seconds(13), .expired = true};
        RetentionOptions options{.snapshots_per_commit = 3};
        options.runtime.clock = std::make_shared<test::StepClock>(microseconds(0), test::kEpoch + seconds(24));
        store->inject({.call = call, .code = code, .nth = nth, .after_effect = after_effect});
        const Result<RetentionReport> report = prune(*store, policy, options);
        has_met = store->failures(call) > 0;
        const bool is_retried = code == ErrorCode::kConflict || code == ErrorCode::kOutcomeUnknown;
        EXPECT_EQ(report.has_value(), !has_met || (call == StoreCall::kCommit && is_retried));
        expect_intact(*memory, run);
        store->heal();
        ASSERT_TRUE(prune(*store, policy, options));
        EXPECT_EQ(versions_in(*memory, "run"), (Versions{11, 12, 14, 15, 16, 18, 19, 20, 22, 23, 24}));
        expect_intact(*memory, run);
        if (report && call == StoreCall::kCommit && code == ErrorCode::kOutcomeUnknown) {
            EXPECT_EQ(report->snapshots_deleted, 13U) << "counted once, though committed twice";
        }
        if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(nth, 1U) << "the fault was never met";
}

TEST_P(RetentionFault, AtAnyCallOfADeletionLeavesARunThatLoadsOrNone) {
    const auto [call, code, after_effect] = GetParam();
    std::uint64_t nth = 0;
    for (bool has_met = true; has_met;) {
        SCOPED_TRACE(fmt::format("call {}", ++nth));
        ASSERT_LT(nth, 200U);
        const auto memory = make_memory_store();
        const auto store = std::make_shared<test::FaultyStore>(memory);
        ChainedRun run(*memory, "run");
        for (int i = 1; i <= 24; ++i) run.append(i % 7 == 0 ? i - 3 : i % 10 == 0 ? 0 : i - 1);
        const RetentionOptions options{.snapshots_per_commit = 3};
        store->inject({.call = call, .code = code, .nth = nth, .after_effect = after_effect});
        const Result<RetentionReport> report = delete_runs(*store, {.run_id = "run"}, options);
        has_met = store->failures(call) > 0;
        const bool is_there = memory->head("run").value().has_value();
        if (report) {
            EXPECT_FALSE(is_there);
            EXPECT_EQ(report->runs_deleted, 1U);
            EXPECT_EQ(report->snapshots_deleted, 24U);
        }
        expect_intact(*memory, run);
        store->heal();
        const Result<RetentionReport> again = delete_runs(*store, {.run_id = "run"}, options);
        EXPECT_EQ(again.has_value(), is_there);
        EXPECT_FALSE(memory->head("run").value());
        if (testing::Test::HasFailure()) return;
    }
    EXPECT_EQ(nth > 1, call != StoreCall::kGet) << "a deletion decodes nothing, all else it does";
}

INSTANTIATE_TEST_SUITE_P(EveryKind, RetentionFault,
                         testing::Values(FaultKind{StoreCall::kCommit, ErrorCode::kUnavailable, false},
                                         FaultKind{StoreCall::kCommit, ErrorCode::kStorageFull, false},
                                         FaultKind{StoreCall::kCommit, ErrorCode::kConflict, false},
                                         FaultKind{StoreCall::kCommit, ErrorCode::kOutcomeUnknown, false},
                                         FaultKind{StoreCall::kCommit, ErrorCode::kOutcomeUnknown, true},
                                         FaultKind{StoreCall::kCommit, ErrorCode::kInternal, true},
                                         FaultKind{StoreCall::kGet, ErrorCode::kUnavailable, false},
                                         FaultKind{StoreCall::kHistory, ErrorCode::kUnavailable, false}),
                         [](const testing::TestParamInfo<FaultKind>& fault) {
                             const std::string call = fault.param.call == StoreCall::kCommit ? "commit"
                                                      : fault.param.call == StoreCall::kGet  ? "get"
                                                                                             : "history";
                             return fmt::format("{}_{}_{}", call, error_info(fault.param.code).name,
                                                fault.param.after_effect ? "after" : "before");
                         });

}  // namespace
}  // namespace cairn
