// Goal: closing, opening again, opening read-only and opening several times keep the promises.
// Method: reads the whole store before and after. Tests that need durability run only for durable stores.

#include "conformance/store_conformance.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

void fill(Store& store) {
    for (std::int64_t version = 1; version <= 4; ++version) {
        Snapshot snapshot = make_snapshot("run", version, std::string(3000, 'x'));
        snapshot.info.is_recovery_point = version == 2;
        snapshot.info.expires_at = kEpoch;
        ASSERT_TRUE(is_ok(commit_run(store, make_batch(snapshot), soon())));
    }
    ASSERT_TRUE(is_ok(commit_run(store, make_batch(make_snapshot("other", 1)), soon())));
    ASSERT_TRUE(is_ok(commit_run(store, {.run_id = "run", .recoveries = {make_recovery("run")}}, soon())));
}

TEST_P(StoreConformance, EveryCallOnAClosedStoreSaysSo) {
    add_versions("run", 1, 1);
    ASSERT_TRUE(is_ok(store().close()));
    EXPECT_EQ(error_code(commit(make_snapshot("run", 2))), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().head("run", soon())), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().get("run", std::nullopt, soon())), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().history({.run_id = "run"}, soon())), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().runs({}, soon())), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().threads({}, soon())), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().recovery_log("run", 1, soon())), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().stats(soon())), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().check(soon())), ErrorCode::kClosed);
    EXPECT_EQ(error_code(store().reclaim(soon())), ErrorCode::kClosed);
}

TEST_P(StoreConformance, ASecondCloseIsHarmless) {
    ASSERT_TRUE(is_ok(store().close()));
    EXPECT_TRUE(is_ok(store().close()));
}

TEST_P(StoreConformance, AReadOnlyStoreRefusesWritesAndAnswersReads) {
    fill(store());
    auto contents = everything(store());
    ASSERT_TRUE(is_ok(store().close()));
    if (!is_durable()) contents = everything(*open_again());

    const std::shared_ptr<Store> reader = open_again({.read_only = true});
    EXPECT_EQ(everything(*reader), contents);
    EXPECT_EQ(error_code(commit_run(*reader, make_batch(make_snapshot("run", 5)), soon())), ErrorCode::kReadOnly);
    EXPECT_EQ(error_code(commit_run(*reader, make_batch(make_snapshot("new", 1)), soon())), ErrorCode::kReadOnly);
    EXPECT_EQ(error_code(commit_run(*reader, {.run_id = "run", .recoveries = {make_recovery("run")}}, soon())),
              ErrorCode::kReadOnly);
    EXPECT_EQ(error_code(commit_run(*reader, {.run_id = "run", .deletions = {{.version = 1}}}, soon())),
              ErrorCode::kReadOnly);
    EXPECT_EQ(error_code(commit_run(*reader, make_run_deletion("run"), soon())), ErrorCode::kReadOnly);
    EXPECT_EQ(error_code(reader->reclaim(soon())), ErrorCode::kReadOnly);
    EXPECT_TRUE(is_ok(reader->check(soon())));
    EXPECT_EQ(everything(*reader), contents);
}

TEST_P(DurableStoreConformance, OpeningAgainFindsEverything) {
    fill(store());
    const auto before = everything(store());
    ASSERT_TRUE(is_ok(store().close()));
    const std::shared_ptr<Store> again = open_again();
    EXPECT_EQ(everything(*again), before);
    EXPECT_TRUE(is_ok(commit_run(*again, make_batch(make_snapshot("run", 5)), soon())));
    EXPECT_EQ(again->head("run", soon()).value().value().version, 5);
}

TEST_P(DurableStoreConformance, SeveralHandlesSeeEachOthersCommitsAtOnce) {
    const std::shared_ptr<Store> second = open_again();
    const std::shared_ptr<Store> reader = open_again({.read_only = true});
    for (std::int64_t version = 1; version <= 20; ++version) {
        Store& writer = version % 2 == 0 ? store() : *second;
        ASSERT_TRUE(is_ok(commit_run(writer, make_batch(make_snapshot("run", version)), soon())));
        for (Store* handle : {&store(), second.get(), reader.get()}) {
            EXPECT_EQ(handle->head("run", soon()).value().value().version, version);
            EXPECT_EQ(handle->get("run", std::nullopt, soon()).value().value().info.version, version);
        }
    }
    EXPECT_EQ(everything(store()), everything(*second));
}

TEST_P(DurableStoreConformance, AHandleThatMissedACommitConflicts) {
    const std::shared_ptr<Store> second = open_again();
    add_versions("run", 1, 1);
    ASSERT_EQ(second->head("run", soon()).value().value().version, 1);
    add_versions("run", 2, 2);
    Snapshot stale = make_snapshot("run", 2);
    stale.info.snapshot_id = "stale";
    EXPECT_EQ(error_code(commit_run(*second, make_batch(stale), soon())), ErrorCode::kConflict);
    EXPECT_FALSE(store().get("run", "stale", soon()).value());
}

TEST_P(DurableStoreConformance, ClosingOneHandleLeavesTheOthersOpen) {
    const std::shared_ptr<Store> second = open_again();
    ASSERT_TRUE(is_ok(second->close()));
    add_versions("run", 1, 2);
    EXPECT_EQ(head_version("run"), 2);
}

}  // namespace
}  // namespace cairn::test
