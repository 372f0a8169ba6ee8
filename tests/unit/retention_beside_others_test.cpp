// Goal: even if others write, prune or delete meanwhile, and if snapshots are damaged, retention deletes nothing that
// it should keep, and everything that remains loads. Method: other writers work between plan and commit, on the same
// memory store. Single frames are damaged by hand.

#include <cairn/retention.h>

#include "unit/retention_bench.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace cairn {
namespace {

using test::ChainedRun;
using test::expect_intact;
using test::history;
using test::range;
using test::versions_in;

class RetentionBesideOthers : public test::RetentionBench {
protected:
    // Before the first commit, another process deletes the run and another user makes it anew.
    void make_anew_before_a_commit(int versions) {
        store->before_commit([this, versions](std::span<const RunBatch>) {
            if (anew.newest() != 0) return;
            EXPECT_TRUE(delete_runs(*memory, {.run_id = "run"}));
            for (int i = 1; i <= versions; ++i) {
                anew.append(i - 1, [i](SnapshotInfo& info) { info.snapshot_id = fmt::format("anew-{}", i); });
            }
        });
    }

    ChainedRun anew{*memory, "run", "another user"};
};

// ---- other writers ----

TEST_F(RetentionBesideOthers, AHeadSavedBeforeEachCommitIsKeptEvenIfItNeedsWhatWasToGo) {
    run.append_line(12);
    options.snapshots_per_commit = 3;
    int saves = 0;
    store->before_commit([&](std::span<const RunBatch> batches) {
        const RunBatch& batch = batches.front();
        if (saves == 8 || batch.deletions.empty()) return;
        run.append(batch.deletions.front().version);
        ++saves;
    });
    const RetentionReport report = prune_all({.keep_last = 4}, options);
    EXPECT_EQ(saves, 8);
    EXPECT_EQ(versions_in(*memory, "run"), range(17, 20));
    EXPECT_EQ(report.snapshots_deleted, 16U);
    EXPECT_EQ(report.runs_examined, 1U);
    expect_intact(*memory, run);
}

TEST_F(RetentionBesideOthers, TwoPrunersOfOneRunAgree) {
    run.append_line(30);
    options.snapshots_per_commit = 4;
    RetentionOptions rival = options;
    rival.snapshots_per_commit = 3;
    bool is_rival_at_work = false;
    int commits = 0;
    RetentionReport of_rival;
    store->before_commit([&](std::span<const RunBatch>) {
        ++commits;
        if (std::exchange(is_rival_at_work, true)) return;
        of_rival = prune(*memory, {.keep_last = 3}, rival).value();
    });
    const RetentionReport report = prune_all({.keep_last = 5}, options);
    EXPECT_EQ(versions_in(*memory, "run"), range(28, 30));
    EXPECT_EQ(of_rival.snapshots_deleted, 27U);
    EXPECT_EQ(report.snapshots_deleted, 0U) << "another has deleted them";
    EXPECT_EQ(commits, 1) << "nothing is left to do";
    expect_intact(*memory, run);
}

/// Calls `interruption` before the first `get`.
class InterruptedStore final : public ForwardingStore {
public:
    InterruptedStore(std::shared_ptr<Store> next, std::function<void()> interruption)
        : ForwardingStore(std::move(next)), interruption_(std::move(interruption)) {}
    Result<std::optional<Snapshot>> get(std::string_view run_id, std::optional<std::string_view> snapshot_id,
                                        Deadline deadline, Reading reading) override {
        if (interruption_) std::exchange(interruption_, nullptr)();
        return next().get(run_id, snapshot_id, deadline, reading);
    }

private:
    std::function<void()> interruption_;
};

TEST_F(RetentionBesideOthers, ARehearsalBesideAnotherPrunerCountsWhatIsLeft) {
    for (int i = 1; i <= 20; ++i) {
        run.append(i == 19 ? 17 : i - 1, [i](SnapshotInfo& info) {
            if (i == 15 || i == 18) info.expires_at = test::kEpoch;
        });
    }
    // By then the rehearsal has counted version 18. When it reads again, versions up to 15 are gone.
    InterruptedStore interrupted(memory, [&] { EXPECT_TRUE(prune(*memory, {.keep_last = 5})); });
    options.dry_run = true;
    options.snapshots_per_commit = 1;
    const RetentionReport report = prune(interrupted, {.keep_last = 7, .expired = true}, options).value();
    EXPECT_EQ(report.snapshots_deleted, 1U);
    EXPECT_EQ(versions_in(*memory, "run"), range(16, 20));
}

TEST_F(RetentionBesideOthers, ARunDeletedAndMadeAnewMeanwhileIsAnotherRun) {
    run.append_line(10);
    make_anew_before_a_commit(12);
    EXPECT_EQ(prune_all({.keep_last = 3}, options).snapshots_rewritten, 0U);
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 12));
    expect_intact(*memory, anew);
}

TEST_F(RetentionBesideOthers, ARunMadeAnewByAnotherUserWhileItIsDeletedIsNotDeleted) {
    run.append_line(3);
    make_anew_before_a_commit(4);
    EXPECT_EQ(delete_runs(*store, {.run_id = "run"}, options).value().runs_deleted, 0U);
    EXPECT_EQ(anew.newest(), 4);
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 4));
    expect_intact(*memory, anew);
}

TEST_F(RetentionBesideOthers, ConflictsWithoutEndEndAtTheTimeout) {
    run.append_line(4);
    store->inject({.code = ErrorCode::kConflict, .for_good = true});
    int commits = 0;
    store->before_commit([&](std::span<const RunBatch>) { ++commits; });
    options.timeout = std::chrono::milliseconds(20);
    EXPECT_EQ(prune(*store, {.keep_last = 1}, options).error().code, ErrorCode::kUnavailable);
    EXPECT_GT(commits, 1) << "it should have been tried again";
    EXPECT_EQ(versions_in(*memory, "run"), range(1, 4));
}

TEST_F(RetentionBesideOthers, AnOutcomeThatRemainsUnknownIsToldAsSuch) {
    run.append_line(4);
    store->inject({.code = ErrorCode::kOutcomeUnknown, .for_good = true});
    EXPECT_EQ(prune(*store, {.keep_last = 1}, options).error().code, ErrorCode::kOutcomeUnknown);
    expect_intact(*memory, run);
}

// ---- damage ----

// Replaces the snapshot's frame by one that does not decode.
void damage(Store& store, const ChainedRun& run, std::int64_t version) {
    const SnapshotInfo info = history(store, run.run_id()).at(static_cast<std::size_t>(version - 1));
    Snapshot snapshot = store.get(run.run_id(), info.snapshot_id, test::soon()).value().value();
    snapshot.frame.back() = static_cast<char>(snapshot.frame.back() ^ 1);
    RunBatch batch{.run_id = run.run_id()};
    batch.rewrites.push_back(
        {.version = version, .base_version = info.base_version, .frame = std::move(snapshot.frame)});
    ASSERT_TRUE(commit_run(store, batch, test::soon()));
}

TEST_F(RetentionBesideOthers, ADamagedSnapshotThatNobodyNeedsIsDeleted) {
    run.append_line(5);
    run.append();
    damage(*memory, run, 3);
    EXPECT_EQ(prune_all({.keep_last = 1}, options).snapshots_deleted, 5U);
    expect_intact(*memory, run);
}

TEST_F(RetentionBesideOthers, ADamagedSnapshotThatWouldHaveToBeRewrittenStopsItsRunAndNoOther) {
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

TEST_F(RetentionBesideOthers, ADamagedBaseThatIsOnlyOfferedIsDoneWithout) {
    run.append();
    run.append(0, [](SnapshotInfo& info) { info.expires_at = test::kEpoch; });
    run.append(2);
    damage(*memory, run, 1);
    EXPECT_EQ(prune_all({.expired = true}, options).snapshots_rewritten, 1U);
    EXPECT_EQ(chain_frames(3), 1U) << "1 is the newest self-contained one before it";
    const auto loaded = load_snapshot(*memory, {.run_id = "run"}, StateLimits{}, test::soon());
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    EXPECT_EQ(loaded->state.text(), run.texts().at(3));
}

}  // namespace
}  // namespace cairn
