// Goal: `Store::commit` checks its preconditions, and applies a run's batch whole or not at all. Each kind of refusal
// has the documented error. A run that is refused leaves the others alone.
// Method: tests each rule alone; then every bad write at every place of a run's batch, and beside other runs. To show
// that nothing was applied, the whole store is read before and after.

#include "conformance/store_conformance.h"

#include <fmt/format.h>

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

constexpr std::int64_t kLargestVersion = std::numeric_limits<std::int64_t>::max();

SnapshotWrite write_expecting(Snapshot snapshot, std::int64_t expected_version) {
    return {.snapshot = std::move(snapshot), .expected_version = expected_version};
}

// Groups the writes into one batch per run.
std::vector<RunBatch> batch_of(std::vector<SnapshotWrite> writes) {
    return batches_of(std::move(writes));
}

TEST_P(StoreConformance, FirstWriteMakesTheRunAndItsHead) {
    ASSERT_EQ(head_version("run"), 0);
    ASSERT_TRUE(is_ok(commit(make_snapshot("run", 1))));
    const Head head = store().head("run", soon()).value().value();
    EXPECT_EQ(head.version, 1);
    EXPECT_EQ(head.snapshot_id, "run-1");
    EXPECT_EQ(head.thread_id, "thread");
    EXPECT_EQ(head.user_id, "user");
}

TEST_P(StoreConformance, AnEmptyBatchSucceedsAndChangesNothing) {
    add_versions("run", 1, 2);
    const auto before = everything(store());
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "run"})));
    EXPECT_TRUE(is_ok(commit(RunBatch{.run_id = "no run"})));
    EXPECT_TRUE(store().commit({}, soon()).value().empty());
    EXPECT_EQ(everything(store()), before);
}

TEST_P(StoreConformance, AWriteThatExpectsTheHeadMovesIt) {
    add_versions("run", 1, 3);
    EXPECT_EQ(head_version("run"), 3);
    EXPECT_EQ(store().head("run", soon()).value().value().snapshot_id, "run-3");
}

TEST_P(StoreConformance, AHeadThatIsNotWhereExpectedIsAConflict) {
    add_versions("run", 1, 3);
    const auto before = everything(store());
    for (const std::int64_t expected :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{2}, std::int64_t{4}, kLargestVersion - 1}) {
        const Snapshot snapshot = make_snapshot("run", expected == kLargestVersion - 1 ? kLargestVersion : 10);
        const Status status = commit(batch_of({write_expecting(snapshot, expected)}));
        EXPECT_EQ(error_code(status), ErrorCode::kConflict) << "expected " << expected;
    }
    EXPECT_EQ(everything(store()), before);
}

TEST_P(StoreConformance, ARunThatDoesNotExistConflictsWithAnyVersionButZero) {
    EXPECT_EQ(error_code(commit(batch_of({write_expecting(make_snapshot("run", 2), 1)}))), ErrorCode::kConflict);
    EXPECT_EQ(head_version("run"), 0);
    EXPECT_TRUE(is_ok(commit(batch_of({write_expecting(make_snapshot("run", 2), 0)}))));
    EXPECT_EQ(head_version("run"), 2);
}

TEST_P(StoreConformance, VersionsMayLeaveGapsUpToTheLargest) {
    ASSERT_TRUE(is_ok(commit(batch_of({write_expecting(make_snapshot("run", 7), 0)}))));
    ASSERT_TRUE(is_ok(commit(batch_of({write_expecting(make_snapshot("run", kLargestVersion), 7)}))));
    EXPECT_EQ(head_version("run"), kLargestVersion);
}

TEST_P(StoreConformance, AVersionThatDoesNotGrowIsInvalid) {
    add_versions("run", 1, 3);
    const auto before = everything(store());
    for (const std::int64_t version : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{2}, std::int64_t{3}}) {
        Snapshot snapshot = make_snapshot("run", version);
        snapshot.info.parent_version = 0;
        snapshot.info.snapshot_id = "new";
        const Status status = commit(batch_of({write_expecting(snapshot, 3)}));
        EXPECT_EQ(error_code(status), ErrorCode::kInvalidArgument) << "version " << version;
    }
    Snapshot first = make_snapshot("other", 1);
    EXPECT_EQ(error_code(commit(batch_of({write_expecting(first, -1)}))), ErrorCode::kInvalidArgument);
    EXPECT_EQ(everything(store()), before);
}

TEST_P(StoreConformance, AParentIsAnEarlierVersionOrNone) {
    add_versions("run", 1, 3);
    for (const std::int64_t parent : {std::int64_t{-1}, std::int64_t{4}, std::int64_t{5}}) {
        Snapshot snapshot = make_snapshot("run", 4);
        snapshot.info.parent_version = parent;
        EXPECT_EQ(error_code(commit(snapshot)), ErrorCode::kInvalidArgument) << "parent " << parent;
    }
    Snapshot fork = make_snapshot("run", 4);
    fork.info.parent_version = 1;
    ASSERT_TRUE(is_ok(commit(fork)));
    EXPECT_EQ(store().get("run", "run-4", soon()).value().value().info.parent_version, 1);
    Snapshot orphan = make_snapshot("run", 5);
    orphan.info.parent_version = 0;
    EXPECT_TRUE(is_ok(commit(orphan)));
}

TEST_P(StoreConformance, EveryIdMustBeGiven) {
    for (std::string SnapshotInfo::* id :
         {&SnapshotInfo::run_id, &SnapshotInfo::thread_id, &SnapshotInfo::user_id, &SnapshotInfo::snapshot_id}) {
        Snapshot snapshot = make_snapshot("run", 1);
        (snapshot.info.*id).clear();
        EXPECT_EQ(error_code(commit(snapshot)), ErrorCode::kInvalidArgument);
    }
    EXPECT_EQ(error_code(commit(RunBatch{.recoveries = {make_recovery("")}})), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(all_runs(store()).empty());
}

TEST_P(StoreConformance, ARunKeepsItsThreadAndItsUser) {
    add_versions("run", 1, 2);
    const auto before = everything(store());
    for (std::string SnapshotInfo::* owner : {&SnapshotInfo::thread_id, &SnapshotInfo::user_id}) {
        Snapshot snapshot = make_snapshot("run", 3);
        snapshot.info.*owner = "someone else's";
        EXPECT_EQ(error_code(commit(snapshot)), ErrorCode::kInvalidArgument);
        // A caller that does not own the run does not learn its head's version either.
        EXPECT_EQ(error_code(commit(batch_of({write_expecting(snapshot, 1)}))), ErrorCode::kInvalidArgument);
        snapshot.info.snapshot_id = "run-1";
        EXPECT_EQ(error_code(commit(snapshot)), ErrorCode::kInvalidArgument);
    }
    EXPECT_EQ(everything(store()), before);
}

TEST_P(StoreConformance, ASnapshotIdIsTakenInItsRunOnly) {
    add_versions("run", 1, 2);
    const auto before = everything(store());
    Snapshot again = make_snapshot("run", 3);
    again.info.snapshot_id = "run-1";
    EXPECT_EQ(error_code(commit(again)), ErrorCode::kAlreadyExists);
    EXPECT_EQ(everything(store()), before);

    Snapshot elsewhere = make_snapshot("other", 1);
    elsewhere.info.snapshot_id = "run-1";
    EXPECT_TRUE(is_ok(commit(elsewhere)));
    EXPECT_EQ(store().get("other", "run-1", soon()).value().value().info.run_id, "other");
    EXPECT_EQ(store().get("run", "run-1", soon()).value().value().info.run_id, "run");
}

TEST_P(StoreConformance, RepeatingACommitTellsThatItWasApplied) {
    add_versions("run", 1, 2);
    const RunBatch batch = make_batch(make_snapshot("run", 3));
    ASSERT_TRUE(is_ok(commit(batch)));
    EXPECT_EQ(error_code(commit(batch)), ErrorCode::kAlreadyExists) << "right after it";
    add_versions("run", 4, 5);
    EXPECT_EQ(error_code(commit(batch)), ErrorCode::kAlreadyExists) << "after others wrote, too";
    const RunBatch first = make_batch(make_snapshot("run", 1));
    EXPECT_EQ(error_code(commit(first)), ErrorCode::kAlreadyExists) << "and of the first write";
    EXPECT_EQ(head_version("run"), 5);
}

TEST_P(StoreConformance, SeveralWritesToOneRunAreAppliedInOrder) {
    add_versions("run", 1, 1);
    ASSERT_TRUE(is_ok(commit(batch_of({make_write(make_snapshot("run", 2)), make_write(make_snapshot("run", 3)),
                                       make_write(make_snapshot("run", 4))}))));
    EXPECT_EQ(head_version("run"), 4);
    const auto history = store().history({.run_id = "run"}, soon()).value();
    ASSERT_EQ(history.size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(history[i].version, static_cast<std::int64_t>(4 - i));
}

TEST_P(StoreConformance, ANewRunMayStartWithSeveralWrites) {
    ASSERT_TRUE(is_ok(commit(batch_of({make_write(make_snapshot("run", 1)), make_write(make_snapshot("run", 2))}))));
    EXPECT_EQ(head_version("run"), 2);
}

TEST_P(StoreConformance, WritesToOneRunMustChain) {
    add_versions("run", 1, 1);
    const auto before = everything(store());
    const SnapshotWrite second = make_write(make_snapshot("run", 2));
    for (const std::int64_t expected : {0, 1, 3}) {
        EXPECT_EQ(error_code(commit(batch_of({second, write_expecting(make_snapshot("run", 4), expected)}))),
                  ErrorCode::kInvalidArgument)
            << "expected " << expected;
    }
    Snapshot of_other_user = make_snapshot("run", 3);
    of_other_user.info.user_id = "other";
    EXPECT_EQ(error_code(commit(batch_of({second, make_write(of_other_user)}))), ErrorCode::kInvalidArgument);
    Snapshot of_other_thread = make_snapshot("run", 3);
    of_other_thread.info.thread_id = "other";
    EXPECT_EQ(error_code(commit(batch_of({second, make_write(of_other_thread)}))), ErrorCode::kInvalidArgument);
    Snapshot same_id = make_snapshot("run", 3);
    same_id.info.snapshot_id = "run-2";
    EXPECT_EQ(error_code(commit(batch_of({second, make_write(same_id)}))), ErrorCode::kAlreadyExists);
    EXPECT_EQ(everything(store()), before);
}

TEST_P(StoreConformance, WritesToANewRunMustHaveOneOwner) {
    for (std::string SnapshotInfo::* owner : {&SnapshotInfo::thread_id, &SnapshotInfo::user_id}) {
        Snapshot second = make_snapshot("run", 2);
        second.info.*owner = "someone else's";
        EXPECT_EQ(error_code(commit(batch_of({make_write(make_snapshot("run", 1)), make_write(second)}))),
                  ErrorCode::kInvalidArgument);
    }
    EXPECT_EQ(head_version("run"), 0);
}

TEST_P(StoreConformance, ChainsOfSeveralRunsMayAlternate) {
    add_versions("a", 1, 1);
    ASSERT_TRUE(is_ok(commit(batch_of({make_write(make_snapshot("a", 2)), make_write(make_snapshot("b", 1)),
                                       make_write(make_snapshot("a", 3)), make_write(make_snapshot("b", 2))}))));
    EXPECT_EQ(head_version("a"), 3);
    EXPECT_EQ(head_version("b"), 2);
}

TEST_P(StoreConformance, RecoveryRecordsAreCommittedWithTheirWrites) {
    add_versions("run", 1, 1);
    RunBatch batch = make_batch(make_snapshot("run", 2));
    batch.recoveries = {make_recovery("run", "first"), make_recovery("run", "second")};
    ASSERT_TRUE(is_ok(commit(batch)));
    EXPECT_EQ(head_version("run"), 2);
    EXPECT_EQ(store().recovery_log("run", 10, soon()).value().size(), 2U);
}

TEST_P(StoreConformance, ARecoveryRecordNeedsNoWriteAndNoRun) {
    ASSERT_TRUE(is_ok(commit(RunBatch{.run_id = "never seen", .recoveries = {make_recovery("never seen")}})));
    EXPECT_EQ(store().recovery_log("never seen", 10, soon()).value().size(), 1U);
    EXPECT_EQ(head_version("never seen"), 0);
    EXPECT_TRUE(all_runs(store()).empty());
}

// A write that a store must refuse; there is one for each kind of refusal. Run "run" is at version 2.
struct BadWrite {
    ErrorCode code;
    SnapshotWrite write;
};

std::vector<BadWrite> bad_writes() {
    std::vector<BadWrite> bad;
    bad.push_back({ErrorCode::kConflict, write_expecting(make_snapshot("run", 9), 1)});
    bad.push_back({ErrorCode::kConflict, write_expecting(make_snapshot("run", 9), 8)});
    bad.push_back({ErrorCode::kConflict, write_expecting(make_snapshot("run", 9), 0)});
    bad.push_back({ErrorCode::kConflict, write_expecting(make_snapshot("missing", 9), 8)});
    bad.push_back({ErrorCode::kInvalidArgument, write_expecting(make_snapshot("run", 2), 2)});
    BadWrite taken{ErrorCode::kAlreadyExists, make_write(make_snapshot("run", 3))};
    taken.write.snapshot.info.snapshot_id = "run-1";
    bad.push_back(std::move(taken));
    BadWrite foreign{ErrorCode::kInvalidArgument, make_write(make_snapshot("run", 3))};
    foreign.write.snapshot.info.user_id = "other";
    bad.push_back(std::move(foreign));
    BadWrite nameless{ErrorCode::kInvalidArgument, make_write(make_snapshot("run", 3))};
    nameless.write.snapshot.info.snapshot_id.clear();
    bad.push_back(std::move(nameless));
    return bad;
}

TEST_P(StoreConformance, OneBadWriteOfARunAppliesNothingOfItsBatch) {
    add_versions("run", 1, 2);
    const auto before = everything(store());
    for (const auto& [code, bad] : bad_writes()) {
        RunBatch batch{.run_id = bad.snapshot.info.run_id};
        batch.recoveries = {make_recovery(batch.run_id)};
        batch.deletions = {{.version = 1}};
        batch.writes = {bad};
        EXPECT_EQ(error_code(commit(batch)), code) << error_info(code).name;
        batch.writes = {make_write(make_snapshot(batch.run_id, 3)), bad};
        EXPECT_FALSE(commit(batch)) << error_info(code).name << " behind a good one";
    }
    EXPECT_EQ(everything(store()), before);
    EXPECT_EQ(store().recovery_log("run", 10, soon()).value().size(), 0U);
}

TEST_P(StoreConformance, ARunThatIsRefusedLeavesTheOthersOfTheCommitAlone) {
    add_versions("run", 1, 2);
    add_versions("good", 1, 1);
    std::int64_t good = 1;
    for (const auto& [code, bad] : bad_writes()) {
        for (std::size_t place = 0; place < 3; ++place) {
            const std::string created = fmt::format("new {}", good);
            std::vector<RunBatch> batches = {make_batch(make_snapshot("good", good + 1)),
                                             make_batch(make_snapshot(created, 1))};
            ++good;
            RunBatch refused{.run_id = bad.snapshot.info.run_id, .writes = {bad}};
            batches.insert(batches.begin() + static_cast<std::ptrdiff_t>(place), std::move(refused));
            const auto answers = store().commit(batches, soon()).value();
            ASSERT_EQ(answers.size(), 3U);
            for (std::size_t i = 0; i < answers.size(); ++i) {
                EXPECT_EQ(error_code(answers[i]), i == place ? std::optional(code) : std::nullopt) << i;
            }
            EXPECT_EQ(head_version("good"), good);
            EXPECT_EQ(head_version(created), 1);
            EXPECT_EQ(head_version("run"), 2);
            EXPECT_EQ(head_version("missing"), 0);
        }
    }
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
}

TEST_P(StoreConformance, OneConflictAmongSixtyFourRunsIsThatRunsAlone) {
    std::vector<RunBatch> batches;
    for (int i = 0; i < 64; ++i) {
        const std::string run_id = fmt::format("run {}", i);
        add_versions(run_id, 1, 1);
        batches.push_back(make_batch(make_snapshot(run_id, 2)));
    }
    Snapshot of_another_writer = make_snapshot("run 37", 2);
    of_another_writer.info.snapshot_id = "another writer's";
    ASSERT_TRUE(is_ok(commit(of_another_writer)));
    const auto answers = store().commit(batches, soon()).value();
    ASSERT_EQ(answers.size(), 64U);
    for (std::size_t i = 0; i < answers.size(); ++i) {
        EXPECT_EQ(error_code(answers[i]), i == 37 ? std::optional(ErrorCode::kConflict) : std::nullopt) << i;
        EXPECT_EQ(head_version(batches[i].run_id), 2);
    }
    EXPECT_EQ(store().head("run 37", soon()).value()->snapshot_id, "another writer's");
}

TEST_P(StoreConformance, ARunHasOneBatchInACommit) {
    const auto answers =
        store().commit(std::vector<RunBatch>{make_batch(make_snapshot("run", 1)), make_batch(make_snapshot("run", 2)),
                                             make_batch(make_snapshot("other", 1))},
                       soon());
    ASSERT_TRUE(is_ok(answers));
    EXPECT_TRUE(is_ok(answers->at(0)));
    EXPECT_EQ(error_code(answers->at(1)), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(is_ok(answers->at(2)));
    EXPECT_EQ(head_version("run"), 1);
}

TEST_P(StoreConformance, AllOfABatchIsOfItsRun) {
    RunBatch batch = make_batch(make_snapshot("run", 1));
    batch.writes.push_back(make_write(make_snapshot("other", 1)));
    EXPECT_EQ(error_code(commit(batch)), ErrorCode::kInvalidArgument);
    batch = make_batch(make_snapshot("run", 1));
    batch.recoveries = {make_recovery("other")};
    EXPECT_EQ(error_code(commit(batch)), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(all_runs(store()).empty());
}

TEST_P(StoreConformance, TheStoreStaysUsableAfterEveryRefusal) {
    add_versions("run", 1, 2);
    for (const auto& [code, write] : bad_writes()) EXPECT_EQ(error_code(commit(batch_of({write}))), code);
    EXPECT_TRUE(is_ok(commit(make_snapshot("run", 3))));
    EXPECT_EQ(head_version("run"), 3);
}

TEST_P(StoreConformance, ErrorsNameTheRun) {
    add_versions("run", 1, 2);
    const Status conflict = commit(batch_of({write_expecting(make_snapshot("run", 9), 1)}));
    ASSERT_FALSE(conflict);
    EXPECT_NE(conflict.error().message.find("\"run\""), std::string::npos) << conflict.error().message;
}

TEST_P(StoreConformance, FrameBytesAreCountedByTheStoreNotByTheWriter) {
    Snapshot snapshot = make_snapshot("run", 1);
    snapshot.frame = std::string(1234, 'f');
    snapshot.info.frame_bytes = 7;
    ASSERT_TRUE(is_ok(commit(snapshot)));
    EXPECT_EQ(store().get("run", std::nullopt, soon()).value().value().info.frame_bytes, 1234U);
    EXPECT_EQ(store().history({.run_id = "run"}, soon()).value().at(0).frame_bytes, 1234U);
}

TEST_P(StoreConformance, ADeadlineThatHasPassedFailsOrSucceedsButNeverHangsOrLies) {
    const Status status = commit_run(store(), make_batch(make_snapshot("run", 1)),
                                     std::chrono::steady_clock::now() - std::chrono::hours(1));
    if (!status) {
        EXPECT_EQ(error_code(status), ErrorCode::kUnavailable);
    }
    EXPECT_EQ(head_version("run"), status ? 1 : 0);
    const Status with_the_earliest = commit_run(store(), make_batch(make_snapshot("other", 1)), Deadline::min());
    if (!with_the_earliest) {
        EXPECT_EQ(error_code(with_the_earliest), ErrorCode::kUnavailable);
    }
    EXPECT_EQ(head_version("other"), with_the_earliest ? 1 : 0);
}

// A call that does not answer may only say that it ran out of time.
TEST_P(StoreConformance, AReadingWhoseDeadlineHasPassedAnswersOrIsUnavailable) {
    add_versions("run", 1, 2);
    const auto expect_fair = [](const auto& answer, const char* what) {
        if (answer) return;
        EXPECT_EQ(error_code(answer), ErrorCode::kUnavailable) << what;
    };
    for (const Deadline past : {Deadline::min(), std::chrono::steady_clock::now() - std::chrono::seconds(1)}) {
        expect_fair(store().head("run", past), "head");
        expect_fair(store().lease("run", past), "lease");
        expect_fair(store().get("run", "run-1", past), "get");
        expect_fair(store().get("run", "run-1", past, Store::Reading::kAfresh), "get afresh");
        expect_fair(store().history({.run_id = "run"}, past), "history");
        expect_fair(store().runs({}, past), "runs");
        expect_fair(store().threads({}, past), "threads");
        expect_fair(store().recovery_log("run", 10, past), "recovery_log");
        expect_fair(store().stats(past), "stats");
        expect_fair(store().check(past), "check");
        expect_fair(store().reclaim(past), "reclaim");
    }
    EXPECT_EQ(head_version("run"), 2);
    EXPECT_EQ(store().get("run", "run-1", Deadline::max(), Store::Reading::kAfresh).value()->info.version, 1);
    EXPECT_TRUE(is_ok(store().stats(Deadline::max())));
    EXPECT_TRUE(is_ok(store().check(Deadline::max())));
}

TEST_P(StoreConformance, TheStoreTakesAtLeastOneCommitAtATime) {
    EXPECT_GE(store().commits_at_once(), 1U);
}

TEST_P(StoreConformance, TheLatestDeadlineIsNoDeadline) {
    EXPECT_TRUE(is_ok(commit_run(store(), make_batch(make_snapshot("run", 1)), Deadline::max())));
}

TEST_P(StoreConformance, ABatchOfManyWritesIsApplied) {
    std::vector<SnapshotWrite> writes;
    for (std::int64_t version = 1; version <= 100; ++version) {
        for (const std::string run_id : {"a", "b", "c"}) writes.push_back(make_write(make_snapshot(run_id, version)));
    }
    ASSERT_TRUE(is_ok(commit(batch_of(std::move(writes)))));
    for (const std::string run_id : {"a", "b", "c"}) EXPECT_EQ(head_version(run_id), 100);
    EXPECT_EQ(store().stats(soon()).value().snapshots, 300U);
}

}  // namespace
}  // namespace cairn::test
