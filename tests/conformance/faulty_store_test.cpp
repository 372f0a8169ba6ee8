// Goal: the faulty store fails exactly when and how a test asks it to. Other tests rely on it.
// Method: injects each kind of fault over a memory store, and looks into that store to see what was applied.

#include <cairn/faulty_store.h>

#include "conformance/store_conformance.h"
#include "store/memory/memory_store.h"
#include "support/make.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace cairn::test {
namespace {

class FaultyStoreTest : public testing::Test {
protected:
    Status commit(std::int64_t version) { return commit_run(store, make_batch(make_snapshot("run", version)), soon()); }
    std::int64_t applied() {
        const auto head = memory->head("run", soon()).value();
        return head ? head->version : 0;
    }

    std::shared_ptr<Store> memory = make_memory_store();
    FaultyStore store{memory};
};

TEST_F(FaultyStoreTest, FailsTheNextCallOnceBeforeItsEffect) {
    store.inject({.call = StoreCall::kCommit, .code = ErrorCode::kStorageFull});
    EXPECT_EQ(error_code(commit(1)), ErrorCode::kStorageFull);
    EXPECT_EQ(applied(), 0);
    EXPECT_TRUE(is_ok(commit(1)));
    EXPECT_EQ(applied(), 1);
}

TEST_F(FaultyStoreTest, FailsAfterTheEffect) {
    store.inject({.call = StoreCall::kCommit, .code = ErrorCode::kOutcomeUnknown, .after_effect = true});
    EXPECT_EQ(error_code(commit(1)), ErrorCode::kOutcomeUnknown);
    EXPECT_EQ(applied(), 1);
}

TEST_F(FaultyStoreTest, AnEffectThatFailsByItselfKeepsItsError) {
    store.inject({.call = StoreCall::kCommit, .code = ErrorCode::kOutcomeUnknown, .after_effect = true});
    EXPECT_EQ(error_code(commit(5)), ErrorCode::kConflict);
}

TEST_F(FaultyStoreTest, FailsTheNthCallCountedFromNow) {
    ASSERT_TRUE(is_ok(commit(1)));
    store.inject({.nth = 2});
    EXPECT_TRUE(is_ok(commit(2)));
    EXPECT_EQ(error_code(commit(3)), ErrorCode::kUnavailable);
    EXPECT_TRUE(is_ok(commit(3)));
    EXPECT_EQ(store.calls(StoreCall::kCommit), 4U);
    EXPECT_EQ(store.failures(StoreCall::kCommit), 1U);
}

TEST_F(FaultyStoreTest, FailsForGoodUntilHealed) {
    store.inject({.nth = 2, .for_good = true});
    EXPECT_TRUE(is_ok(commit(1)));
    for (int i = 0; i < 3; ++i) EXPECT_EQ(error_code(commit(2)), ErrorCode::kUnavailable);
    store.heal();
    EXPECT_TRUE(is_ok(commit(2)));
}

TEST_F(FaultyStoreTest, FaultsOfOneCallLeaveTheOthersAlone) {
    ASSERT_TRUE(is_ok(commit(1)));
    store.inject({.call = StoreCall::kHead, .code = ErrorCode::kCorrupt});
    store.inject({.call = StoreCall::kGet, .code = ErrorCode::kInternal});
    store.inject({.call = StoreCall::kHistory, .code = ErrorCode::kUnavailable});
    EXPECT_TRUE(is_ok(commit(2)));
    EXPECT_EQ(error_code(store.get("run", std::nullopt, soon())), ErrorCode::kInternal);
    EXPECT_EQ(error_code(store.head("run", soon())), ErrorCode::kCorrupt);
    EXPECT_EQ(error_code(store.history({.run_id = "run"}, soon())), ErrorCode::kUnavailable);
    EXPECT_TRUE(is_ok(store.get("run", std::nullopt, soon())));
    EXPECT_TRUE(is_ok(store.head("run", soon())));
    EXPECT_TRUE(is_ok(store.history({.run_id = "run"}, soon())));
}

TEST_F(FaultyStoreTest, TheHookRunsBeforeEachCommitAndMayUseTheStore) {
    ASSERT_TRUE(is_ok(commit(1)));
    store.before_commit([this](std::span<const RunBatch> batches) {
        if (batches.front().writes.at(0).snapshot.info.snapshot_id != "run-2") return;
        Snapshot rival = make_snapshot("run", 2);
        rival.info.snapshot_id = "rival";
        EXPECT_TRUE(is_ok(commit_run(store, make_batch(rival), soon())));
    });
    EXPECT_EQ(error_code(commit(2)), ErrorCode::kConflict) << "the rival was faster";
    EXPECT_EQ(memory->head("run", soon()).value().value().snapshot_id, "rival");
    store.before_commit(nullptr);
    EXPECT_TRUE(is_ok(commit(3)));
}

TEST_F(FaultyStoreTest, ACallThatIsDelayedBeyondItsDeadlineFailsThenAndHasDoneNothing) {
    ASSERT_TRUE(is_ok(commit(1)));
    for (const StoreCall call : {StoreCall::kCommit, StoreCall::kHead, StoreCall::kGet, StoreCall::kLease}) {
        store.delay(call, std::chrono::hours(1));
    }
    const Deadline soon_over = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
    EXPECT_EQ(error_code(commit_run(store, make_batch(make_snapshot("run", 2)), soon_over)), ErrorCode::kUnavailable);
    EXPECT_EQ(error_code(store.head("run", soon_over)), ErrorCode::kUnavailable);
    EXPECT_EQ(error_code(store.get("run", "run-1", soon_over)), ErrorCode::kUnavailable);
    EXPECT_EQ(error_code(store.lease("run", soon_over)), ErrorCode::kUnavailable);
    store.delay(StoreCall::kHead, std::chrono::milliseconds(1));
    EXPECT_EQ(store.head("run", soon()).value()->version, 1);
}

TEST_F(FaultyStoreTest, SaysHowManyCommitsItTakesAsItIsTold) {
    EXPECT_EQ(store.commits_at_once(), memory->commits_at_once());
    store.set_commits_at_once(3);
    EXPECT_EQ(store.commits_at_once(), 3U);
}

}  // namespace
}  // namespace cairn::test
