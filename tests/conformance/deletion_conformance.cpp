// Goal: deleting removes snapshots and runs completely, and nothing else. Needed snapshots and heads stay, and the rest
// does not change.
// Method: tests each rule alone; for refusals, the whole store is read before and after. Then compares random deletions
// with a model that is a map.

#include "conformance/store_conformance.h"

#include "support/seed.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

std::vector<SnapshotDeletion> deletions_of(const std::vector<std::int64_t>& versions) {
    std::vector<SnapshotDeletion> deletions;
    for (const std::int64_t version : versions) deletions.push_back({.version = version});
    return deletions;
}

RunBatch deleting(std::string run_id, const std::vector<std::int64_t>& versions) {
    return {.run_id = std::move(run_id), .deletions = deletions_of(versions)};
}

std::vector<std::int64_t> versions_of(Store& store, const std::string& run_id) {
    std::vector<std::int64_t> versions;
    const auto history =
        store.history({.run_id = run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 10'000}, soon()).value();
    for (const SnapshotInfo& info : history) versions.push_back(info.version);
    return versions;
}

using Versions = std::vector<std::int64_t>;

// ---- snapshots ----

TEST_P(StoreConformance, ADeletedSnapshotIsGoneAndTheOthersStay) {
    add_versions("run", 1, 5);
    add_versions("other", 1, 5);
    ASSERT_TRUE(is_ok(commit(deleting("run", {2, 4}))));
    EXPECT_EQ(versions_of(store(), "run"), (Versions{1, 3, 5}));
    EXPECT_EQ(versions_of(store(), "other"), (Versions{1, 2, 3, 4, 5}));
    EXPECT_FALSE(store().get("run", "run-2", soon()).value());
    EXPECT_TRUE(store().get("run", "run-3", soon()).value());
    EXPECT_EQ(all_runs(store()).at(0).snapshots, 3U);
    EXPECT_EQ(store().stats(soon()).value().snapshots, 8U);
    EXPECT_EQ(head_version("run"), 5);
}

TEST_P(StoreConformance, ARunKeepsTheTimeOfItsFirstSnapshot) {
    add_versions("run", 1, 3);
    const Timestamp created_at = all_runs(store()).at(0).created_at;
    ASSERT_TRUE(is_ok(commit(deleting("run", {1}))));
    EXPECT_EQ(all_runs(store()).at(0).created_at, created_at);
    EXPECT_EQ(store().get("run", "run-2", soon()).value()->info.created_at, make_snapshot("run", 2).info.created_at);
}

TEST_P(StoreConformance, DeletingWhatIsGoneOrNeverWasIsFine) {
    add_versions("run", 1, 3);
    const RunBatch batch = deleting("run", {1, 1, 77, -5});
    ASSERT_TRUE(is_ok(commit(batch)));
    const auto after = everything(store());
    EXPECT_TRUE(is_ok(commit(batch)));
    EXPECT_TRUE(is_ok(commit(deleting("no run", {1}))));
    EXPECT_TRUE(is_ok(commit(make_run_deletion("no run"))));
    EXPECT_EQ(everything(store()), after);
    EXPECT_EQ(error_code(commit(deleting("", {1}))), ErrorCode::kInvalidArgument);
    EXPECT_EQ(error_code(commit(make_run_deletion(""))), ErrorCode::kInvalidArgument);
}

TEST_P(StoreConformance, AnIdMayBeUsedAgainOnceItsSnapshotIsGone) {
    add_versions("run", 1, 3);
    ASSERT_TRUE(is_ok(commit(deleting("run", {2}))));
    Snapshot again = make_snapshot("run", 4);
    again.info.snapshot_id = "run-2";
    ASSERT_TRUE(is_ok(commit(again)));
    EXPECT_EQ(store().get("run", "run-2", soon()).value()->info.version, 4);
}

TEST_P(StoreConformance, AHeadIsNeverDeleted) {
    add_versions("run", 1, 3);
    const auto before = everything(store());
    EXPECT_EQ(error_code(commit(deleting("run", {1, 2, 3}))), ErrorCode::kInvalidArgument);
    EXPECT_EQ(everything(store()), before);
    RunBatch with_new_head = make_batch(make_snapshot("run", 4));
    with_new_head.deletions = deletions_of({4});
    EXPECT_EQ(error_code(commit(with_new_head)), ErrorCode::kInvalidArgument);
    EXPECT_EQ(everything(store()), before);
    with_new_head.deletions = deletions_of({3});
    EXPECT_TRUE(is_ok(commit(with_new_head))) << "version 3 is no head any more: writes come first";
    EXPECT_EQ(versions_of(store(), "run"), (Versions{1, 2, 4}));
}

TEST_P(StoreConformance, ADeletionThatNamesAnotherSnapshotDeletesNothing) {
    add_versions("run", 1, 3);
    const auto before = everything(store());
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .deletions = {{.version = 2, .snapshot_id = "of before"}}})));
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .deletions = {{.version = 3, .snapshot_id = "of before"}}})));
    EXPECT_EQ(everything(store()), before);
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .deletions = {{.version = 2, .snapshot_id = "run-2"}}})));
    EXPECT_EQ(versions_of(store(), "run"), (Versions{1, 3}));
}

// ---- needed snapshots ----

TEST_P(StoreConformance, ASnapshotThatARemainingOneNeedsIsNotDeleted) {
    add_chain("run", {0, 1, 2, 0, 2});
    const auto before = everything(store());
    for (const Versions& needed : {Versions{1}, Versions{2}, Versions{2, 3}, Versions{1, 3}, Versions{1, 2, 3}}) {
        EXPECT_EQ(error_code(commit(deleting("run", needed))), ErrorCode::kConflict) << needed.front();
    }
    EXPECT_EQ(everything(store()), before);
    EXPECT_TRUE(is_ok(commit(deleting("run", {3}))));
    EXPECT_TRUE(is_ok(commit(deleting("run", {4}))));
    EXPECT_EQ(versions_of(store(), "run"), (Versions{1, 2, 5}));
}

TEST_P(StoreConformance, AWholeBranchGoesInOneBatch) {
    add_chain("run", {0, 1, 2, 3, 0});
    EXPECT_TRUE(is_ok(commit(deleting("run", {2, 4, 1, 3}))));
    EXPECT_EQ(versions_of(store(), "run"), (Versions{5}));
}

TEST_P(StoreConformance, ARewriteAndADeletionInOneBatchSetADependantFree) {
    add_chain("run", {0, 1, 2});
    RunBatch batch = deleting("run", {1});
    batch.rewrites.push_back({.version = 2, .frame = "whole"});
    ASSERT_TRUE(is_ok(commit(batch)));
    const Snapshot head = store().get("run", std::nullopt, soon()).value().value();
    ASSERT_EQ(head.bases.size(), 1U);
    EXPECT_EQ(head.bases[0].frame, "whole");
    EXPECT_EQ(versions_of(store(), "run"), (Versions{2, 3}));
}

TEST_P(StoreConformance, ARewriteThatNeedsWhatTheBatchDeletesIsRefused) {
    add_chain("run", {0, 0, 2});
    const auto before = everything(store());
    RunBatch batch = deleting("run", {1});
    batch.rewrites.push_back({.version = 3, .base_version = 1, .frame = "on the deleted"});
    EXPECT_EQ(error_code(commit(batch)), ErrorCode::kConflict);
    RunBatch write{.run_id = "run", .writes = {make_write(make_delta("run", 4, 1))}, .deletions = deletions_of({1})};
    EXPECT_EQ(error_code(commit(write)), ErrorCode::kConflict);
    EXPECT_EQ(everything(store()), before);
}

TEST_P(StoreConformance, AMixedBatchIsAppliedWholeOrNotAtAll) {
    add_chain("run", {0, 1, 2});
    RunBatch good = make_batch(make_delta("run", 4, 3));
    good.lease = LeaseWrite{.lease = {.owner = "ann", .epoch = 1}, .heartbeat_at = kEpoch};
    good.recoveries = {make_recovery("run")};
    good.rewrites.push_back({.version = 2, .frame = "whole"});
    good.deletions = deletions_of({1});

    const auto before = everything(store());
    std::vector<std::pair<ErrorCode, RunBatch>> bad;
    bad.emplace_back(ErrorCode::kConflict, good).second.lease->expected = {.owner = "bob", .epoch = 0};
    bad.emplace_back(ErrorCode::kConflict, good).second.rewrites.push_back({.version = 99});
    bad.emplace_back(ErrorCode::kConflict, good).second.deletions.push_back({.version = 2});
    bad.emplace_back(ErrorCode::kInvalidArgument, good).second.deletions.push_back({.version = 4});
    bad.emplace_back(ErrorCode::kConflict, good).second.run_deletion = RunDeletion{.version = 4, .snapshot_id = "no"};
    for (const auto& [code, batch] : bad) {
        EXPECT_EQ(error_code(commit(batch)), code);
        EXPECT_EQ(everything(store()), before);
        EXPECT_FALSE(store().lease("run", soon()).value());
    }
    ASSERT_TRUE(is_ok(commit(good)));
    EXPECT_EQ(versions_of(store(), "run"), (Versions{2, 3, 4}));
    EXPECT_EQ(store().recovery_log("run", 10, soon()).value().size(), 1U);
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
}

TEST_P(StoreConformance, ASnapshotThatMustStayKeepsNoOtherRunFromBeingDeleted) {
    add_chain("run", {0, 1});
    add_versions("doomed", 1, 2);
    add_versions("other", 1, 3);
    const auto answers = store().commit(
        std::vector<RunBatch>{make_run_deletion("doomed"), deleting("run", {1}), deleting("other", {2})}, soon());
    ASSERT_TRUE(is_ok(answers));
    EXPECT_TRUE(is_ok(answers->at(0)));
    EXPECT_EQ(error_code(answers->at(1)), ErrorCode::kConflict);
    EXPECT_TRUE(is_ok(answers->at(2)));
    EXPECT_EQ(head_version("doomed"), 0);
    EXPECT_EQ(versions_of(store(), "run"), (Versions{1, 2}));
    EXPECT_EQ(versions_of(store(), "other"), (Versions{1, 3}));
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
}

// ---- runs ----

TEST_P(StoreConformance, ADeletedRunIsGoneWithEverythingInIt) {
    add_chain("run", {0, 1, 2});
    add_versions("other", 1, 2);
    ASSERT_TRUE(is_ok(commit(std::vector<RunBatch>{{.run_id = "run", .recoveries = {make_recovery("run")}},
                                                   {.run_id = "other", .recoveries = {make_recovery("other")}}})));
    ASSERT_TRUE(is_ok(commit(make_run_deletion("run"))));
    EXPECT_EQ(head_version("run"), 0);
    EXPECT_FALSE(store().get("run", "run-1", soon()).value());
    EXPECT_FALSE(store().get("run", std::nullopt, soon()).value());
    EXPECT_TRUE(versions_of(store(), "run").empty());
    EXPECT_TRUE(store().recovery_log("run", 10, soon()).value().empty());
    EXPECT_EQ(all_runs(store()).size(), 1U);
    EXPECT_EQ(versions_of(store(), "other"), (Versions{1, 2}));
    EXPECT_EQ(store().recovery_log("other", 10, soon()).value().size(), 1U);
    const StoreStats stats = store().stats(soon()).value();
    EXPECT_EQ(stats.snapshots, 2U);
    EXPECT_EQ(stats.runs, 1U);
    EXPECT_EQ(stats.delta_frames, 0U);
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
}

TEST_P(StoreConformance, ARecoveryLogGoesEvenWithoutARun) {
    ASSERT_TRUE(is_ok(commit(RunBatch{.run_id = "never seen", .recoveries = {make_recovery("never seen")}})));
    ASSERT_TRUE(is_ok(commit(make_run_deletion("never seen"))));
    EXPECT_TRUE(store().recovery_log("never seen", 10, soon()).value().empty());
}

TEST_P(StoreConformance, ADeletedRunIsMadeAnewFromTheStartByAnyOwner) {
    add_chain("run", {0, 1, 2});
    ASSERT_TRUE(is_ok(commit(make_run_deletion("run"))));
    Snapshot first = make_snapshot("run", 1);
    first.info.user_id = "another user";
    first.info.thread_id = "another thread";
    first.info.created_at = kEpoch + std::chrono::hours(1);
    ASSERT_TRUE(is_ok(commit(first)));
    EXPECT_EQ(versions_of(store(), "run"), (Versions{1}));
    EXPECT_EQ(all_runs(store()).at(0).user_id, "another user");
    EXPECT_EQ(all_runs(store()).at(0).created_at, first.info.created_at);
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
}

TEST_P(StoreConformance, ARunIsDeletedAfterAllElseInTheBatch) {
    add_versions("run", 1, 2);
    RunBatch batch = make_batch(make_snapshot("run", 3));
    batch.recoveries = {make_recovery("run")};
    batch.deletions = deletions_of({1});
    batch.run_deletion = RunDeletion{};
    ASSERT_TRUE(is_ok(commit(batch)));
    EXPECT_EQ(head_version("run"), 0);
    EXPECT_TRUE(store().recovery_log("run", 10, soon()).value().empty());
    EXPECT_EQ(store().stats(soon()).value().snapshots, 0U);
}

TEST_P(StoreConformance, ARunThatWasMadeAnewMeanwhileIsNotDeleted) {
    add_versions("run", 1, 3);
    const RunBatch deletion{.run_id = "run", .run_deletion = RunDeletion{.version = 3, .snapshot_id = "run-3"}};
    ASSERT_TRUE(is_ok(commit(make_run_deletion("run"))));
    for (std::int64_t version = 1; version <= 3; ++version) {
        Snapshot snapshot = make_snapshot("run", version);
        snapshot.info.snapshot_id = "anew-" + std::to_string(version);
        ASSERT_TRUE(is_ok(commit(snapshot)));
        const auto before = everything(store());
        EXPECT_EQ(error_code(commit(deletion)), ErrorCode::kConflict) << version;
        EXPECT_EQ(everything(store()), before);
    }
    EXPECT_TRUE(
        is_ok(commit(RunBatch{.run_id = "run", .run_deletion = RunDeletion{.version = 2, .snapshot_id = "anew-2"}})));
    EXPECT_EQ(head_version("run"), 0);
    EXPECT_TRUE(is_ok(commit(deletion))) << "what is not there is deleted already";
}

TEST_P(StoreConformance, ARunThatGrewMeanwhileIsDeletedAllTheSame) {
    add_versions("run", 1, 3);
    const RunBatch deletion{.run_id = "run", .run_deletion = RunDeletion{.version = 3, .snapshot_id = "run-3"}};
    add_versions("run", 4, 5);
    ASSERT_TRUE(is_ok(commit(deletion)));
    EXPECT_EQ(head_version("run"), 0);
}

TEST_P(StoreConformance, ARunIsKnownByWhatTheRestOfTheBatchLeaves) {
    add_versions("run", 1, 3);
    const auto before = everything(store());
    RunBatch batch = deleting("run", {2});
    batch.run_deletion = RunDeletion{.version = 2, .snapshot_id = "run-2"};
    EXPECT_EQ(error_code(commit(batch)), ErrorCode::kConflict);
    EXPECT_EQ(everything(store()), before);
    batch = make_batch(make_snapshot("run", 4));
    batch.run_deletion = RunDeletion{.version = 4, .snapshot_id = "run-4"};
    EXPECT_TRUE(is_ok(commit(batch)));
    EXPECT_EQ(head_version("run"), 0);
}

TEST_P(StoreConformance, RunsAreMadeAnewAfterTheNewestWereDeleted) {
    for (int round = 0; round < 5; ++round) {
        add_versions("old", round + 1, round + 1);
        add_versions("a", 1, 3);
        add_versions("b", 1, 1);
        ASSERT_TRUE(is_ok(commit(std::vector<RunBatch>{make_run_deletion("b"), make_run_deletion("a")})));
    }
    ASSERT_TRUE(is_ok(commit(make_run_deletion("old"))));
    EXPECT_EQ(store().stats(soon()).value().snapshots, 0U);
    EXPECT_TRUE(all_runs(store()).empty());
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
    add_versions("new", 1, 1);
    EXPECT_EQ(all_threads(store()).at(0).snapshots, 1U);
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
}

// ---- at random ----

// The versions that should be there, each with its base.
using Model = std::map<std::int64_t, std::int64_t>;

void expect_model(Store& store, const Model& model, const std::string& where) {
    ASSERT_EQ(versions_of(store, "run").size(), model.size()) << where;
    for (const auto& [version, base] : model) {
        const auto snapshot = store.get("run", fmt::format("run-{}", version), soon()).value().value();
        ASSERT_EQ(snapshot.info.base_version, base) << where;
        std::size_t frames = 0;
        for (std::int64_t at = base; at != 0; at = model.at(at)) ++frames;
        ASSERT_EQ(snapshot.bases.size(), frames) << where;
    }
    ASSERT_TRUE(store.check(soon()).value().findings.empty()) << where;
}

TEST_P(StoreConformance, RandomWritesRewritesAndDeletionsKeepEveryChainWhole) {
    const std::uint64_t seed = test::seed();
    SCOPED_TRACE(replay_line(seed));
    std::mt19937_64 random(seed);
    const auto below = [&](std::size_t limit) { return static_cast<std::int64_t>(random() % limit); };
    Model model;
    const auto any_version = [&] { return std::next(model.begin(), below(model.size()))->first; };
    std::int64_t head = 0;
    int refused = 0;
    int deleted = 0;
    for (int step = 0; step < 250; ++step) {
        const std::string where = fmt::format("step {}", step);
        Model next = model;
        RunBatch batch{.run_id = "run"};
        if (model.empty() || below(2) == 0) {
            const std::int64_t base = model.empty() || below(3) == 0 ? 0 : any_version();
            batch.writes.push_back(make_write(make_delta("run", head + 1, base)));
            next[head + 1] = base;
        } else {
            const std::int64_t version = any_version();
            const std::int64_t base = below(2) == 0 ? 0 : any_version();
            if (base < version && below(2) == 0) {
                batch.rewrites.push_back({.version = version, .base_version = base, .frame = "new"});
                next[version] = base;
            }
            if (const std::int64_t doomed = any_version(); doomed != head) {
                batch.deletions.push_back({.version = doomed});
                next.erase(doomed);
            }
        }
        const bool sound = std::ranges::all_of(
            next, [&](const auto& entry) { return entry.second == 0 || next.contains(entry.second); });
        const Status status = commit(batch);
        ASSERT_EQ(status.has_value(), sound) << where << (status ? "" : ": " + status.error().to_string());
        if (!sound) {
            ASSERT_EQ(error_code(status), ErrorCode::kConflict) << where;
            ++refused;
            continue;
        }
        deleted += next.size() < model.size() ? 1 : 0;
        model = next;
        head = model.rbegin()->first;
        if (step % 5 == 0) expect_model(store(), model, where);
    }
    expect_model(store(), model, "at the end");
    EXPECT_GT(refused, 5);
    EXPECT_GT(deleted, 5);
}

TEST_P(StoreConformance, ReclaimingChangesNothingThatIsStored) {
    for (std::int64_t version = 1; version <= 40; ++version) {
        ASSERT_TRUE(is_ok(commit(make_snapshot("run", version, std::string(20'000, 'x')))));
    }
    RunBatch batch{.run_id = "run"};
    for (std::int64_t version = 1; version <= 35; ++version) batch.deletions.push_back({.version = version});
    ASSERT_TRUE(is_ok(commit(batch)));
    const auto before = everything(store());
    const std::uint64_t store_bytes = store().stats(soon()).value().store_bytes;
    const auto given_back = store().reclaim(soon());
    ASSERT_TRUE(is_ok(given_back));
    EXPECT_EQ(everything(store()), before);
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
    EXPECT_EQ(store().reclaim(soon()).value(), 0U) << "there is no more";
    if (!is_durable()) return;
    EXPECT_GT(*given_back, 35U * 20'000U - 100'000U);
    EXPECT_LE(store().stats(soon()).value().store_bytes, store_bytes - *given_back);
}

TEST_P(StoreConformance, ReclaimingWithAPastDeadlineIsNoError) {
    add_versions("run", 1, 3);
    ASSERT_TRUE(is_ok(commit(deleting("run", {1}))));
    EXPECT_TRUE(is_ok(store().reclaim(Deadline::min())));
    EXPECT_EQ(versions_of(store(), "run"), (Versions{2, 3}));
}

}  // namespace
}  // namespace cairn::test
