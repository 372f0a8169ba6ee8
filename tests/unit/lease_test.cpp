// Goal: an executor that was superseded saves nothing more, on any path. It gets `conflict` at once. Its save is not
// re-based, skipped or retried, and others lose nothing because of it.
// Method: calls of both public services, over a memory store in which the lease is moved between, before and during
// their saves. Every call that reaches the store is counted.

#include "support/queue_bench.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

const Lease kAnn{.owner = "ann", .epoch = 1};
const Lease kBob{.owner = "bob", .epoch = 2};

void lease_to(Store& store, const Lease& lease, const Lease& expected = {}, const std::string& run_id = "run") {
    const RunBatch batch{.run_id = run_id,
                         .lease = LeaseWrite{.lease = lease, .heartbeat_at = kEpoch, .expected = expected}};
    const Status status = commit_run(store, batch, soon());
    ASSERT_TRUE(status.has_value()) << status.error().to_string();
}

StatePersistenceRequest held_step(const Lease& lease, std::int64_t step, std::optional<Durability> durability = {},
                                  std::string run_id = "run") {
    StatePersistenceRequest request = make_step(std::move(run_id), step, durability);
    request.lease = lease;
    return request;
}

void expect_superseded(const Result<Receipt>& receipt) {
    ASSERT_FALSE(receipt.has_value());
    EXPECT_EQ(receipt.error().code, ErrorCode::kConflict);
    EXPECT_EQ(receipt.error().message,
              "run \"run\" is executed by another now: it has the lease of \"bob\", epoch 2, the save the lease of "
              "\"ann\", epoch 1");
}

// ---- both services ----

class LeaseOfBoth : public testing::TestWithParam<bool> {
protected:
    QueueBench bench;
    StatePersistenceService standard{bench.store, {.runtime = make_runtime()}};
    StatePersistence& service() {
        if (GetParam()) return bench.service();
        return standard;
    }
};

TEST_P(LeaseOfBoth, TheHolderSavesAndASupersededOneIsToldConflictAtItsNextSave) {
    lease_to(*bench.inner, kAnn);
    ASSERT_TRUE(service().save_agent_state(held_step(kAnn, 1)).has_value());
    lease_to(*bench.inner, kBob, kAnn);
    const auto commits = bench.store->calls(StoreCall::kCommit);
    expect_superseded(service().save_agent_state(held_step(kAnn, 2)));
    EXPECT_EQ(bench.store->calls(StoreCall::kCommit), commits + 1) << "it was retried";
    ASSERT_TRUE(service().save_agent_state(held_step(kBob, 3)).has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 3}));
}

TEST_P(LeaseOfBoth, ASupersededSaveIsNotRebasedOnTheOthersHead) {
    lease_to(*bench.inner, kAnn);
    ASSERT_TRUE(service().save_agent_state(held_step(kAnn, 1)).has_value());
    lease_to(*bench.inner, kBob, kAnn);
    StatePersistenceService other(bench.inner);
    ASSERT_TRUE(other.save_agent_state(held_step(kBob, 100)).has_value());
    expect_superseded(service().save_agent_state(held_step(kAnn, 2)));
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 100}));
}

TEST_P(LeaseOfBoth, ALeaseThatIsLostDuringTheSaveIsAConflict) {
    lease_to(*bench.inner, kAnn);
    ASSERT_TRUE(service().save_agent_state(held_step(kAnn, 1)).has_value());
    bool is_done = false;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        if (!std::exchange(is_done, true)) lease_to(*bench.inner, kBob, kAnn);
    });
    expect_superseded(service().save_agent_state(held_step(kAnn, 2)));
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_P(LeaseOfBoth, TheHolderIsRebasedOnAHeadThatMoved) {
    lease_to(*bench.inner, kAnn);
    ASSERT_TRUE(service().save_agent_state(held_step(kAnn, 1)).has_value());
    bool is_done = false;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        StatePersistenceService person(bench.inner);
        if (!std::exchange(is_done, true)) {
            ASSERT_TRUE(person.save_agent_state(make_step("run", 100)).has_value());
        }
    });
    EXPECT_EQ(service().save_agent_state(held_step(kAnn, 2)).value().version, 3);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 100, 2}));
}

TEST_P(LeaseOfBoth, ACriticalSaveNeedsItsLeaseToo) {
    lease_to(*bench.inner, kBob);
    StatePersistenceRequest request = held_step(kAnn, 1);
    request.checkpoint_type = CheckpointType::kPhaseTransition;
    expect_superseded(service().save_agent_state(request));
    EXPECT_TRUE(bench.on_disk("run").empty());
}

TEST_P(LeaseOfBoth, ASaveOfUnknownOutcomeThatWasAppliedIsNoConflictForWhoWasSupersededSince) {
    lease_to(*bench.inner, kAnn);
    bench.store->inject({.code = ErrorCode::kOutcomeUnknown, .after_effect = true});
    bool is_first = true;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        if (!std::exchange(is_first, false)) lease_to(*bench.inner, kBob, kAnn);
    });
    const auto receipt = service().save_agent_state(held_step(kAnn, 1));
    ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_P(LeaseOfBoth, ACallerThatGivesNoLeaseIsNotAskedForOne) {
    lease_to(*bench.inner, kBob);
    EXPECT_TRUE(service().save_agent_state(make_step("run", 1)).has_value());
}

INSTANTIATE_TEST_SUITE_P(Services, LeaseOfBoth, testing::Bool(),
                         [](const auto& test) { return test.param ? "optimized" : "standard"; });

// ---- the optimised service ----

class LeaseOfOptimized : public testing::Test {
protected:
    void SetUp() override { lease_to(*bench.inner, kAnn); }
    Result<Receipt> save(const StatePersistenceRequest& request) { return bench.service().save_agent_state(request); }

    QueueBench bench;
};

TEST_F(LeaseOfOptimized, AnEqualStateIsSkippedForTheHolderOnly) {
    ASSERT_TRUE(save(held_step(kAnn, 1)).has_value());
    EXPECT_EQ(save(held_step(kAnn, 1)).value().outcome, Outcome::kDeduplicated);
    lease_to(*bench.inner, kBob, kAnn);
    expect_superseded(save(held_step(kAnn, 1)));
    EXPECT_EQ(save(held_step(kBob, 1)).value().outcome, Outcome::kDeduplicated);
}

TEST_F(LeaseOfOptimized, ASupersededSaveTakesNoSecondPath) {
    ASSERT_TRUE(save(held_step(kAnn, 1)).has_value());
    lease_to(*bench.inner, kBob, kAnn);
    expect_superseded(save(held_step(kAnn, 2)));
    EXPECT_TRUE(bench.service().get_cache_stats().fallbacks_by_cause.empty());
}

TEST_F(LeaseOfOptimized, TheStandardPathHoldsTheLeaseToo) {
    ASSERT_TRUE(save(held_step(kAnn, 1)).has_value());
    bench.store->inject({.code = ErrorCode::kUnavailable});
    bool is_first = true;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        if (std::exchange(is_first, false)) lease_to(*bench.inner, kBob, kAnn);
    });
    expect_superseded(save(held_step(kAnn, 2)));
    EXPECT_EQ(bench.service().get_cache_stats().fallbacks_by_cause.at("unavailable"), 1U);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_F(LeaseOfOptimized, AnAsynchronousSaveThatIsSupersededIsToldAsLost) {
    ASSERT_TRUE(save(held_step(kAnn, 1)).has_value());
    bench.hold_up();
    ASSERT_EQ(save(held_step(kAnn, 2, Durability::kAsync)).value().outcome, Outcome::kQueued);
    lease_to(*bench.inner, kBob, kAnn);
    bench.let_go();
    EXPECT_EQ(code_of(bench.service().flush("run")), ErrorCode::kConflict);
    EXPECT_TRUE(eventually([&] { return bench.service().get_cache_stats().lost == 1; }));
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_F(LeaseOfOptimized, ASupersededSaveHarmsNoNeighbourInItsBatch) {
    bench.hold_up();
    std::vector<std::future<Result<Receipt>>> neighbours;
    for (int run = 0; run < 4; ++run) {
        neighbours.push_back(bench.service().save_async(make_step(fmt::format("neighbour {}", run), 1)));
    }
    auto stale = bench.service().save_async(held_step(kAnn, 1));
    ASSERT_TRUE(bench.becomes_queued(5));
    lease_to(*bench.inner, kBob, kAnn);
    bench.let_go();
    expect_superseded(stale.get());
    for (auto& neighbour : neighbours) EXPECT_EQ(neighbour.get().value().outcome, Outcome::kPersisted);
    const auto sizes = [&] {
        std::vector<std::size_t> each;
        for (const auto& batch : bench.gate.batches()) each.push_back(batch.size());
        return each;
    }();
    EXPECT_EQ(sizes, (std::vector<std::size_t>{5})) << "one commit, in which each run has its own answer";
    EXPECT_TRUE(bench.on_disk("run").empty());
    EXPECT_TRUE(bench.service().get_cache_stats().fallbacks_by_cause.empty());
}

TEST_F(LeaseOfOptimized, AnEqualSaveOfAnotherHolderDoesNotShareTheFateOfTheSupersededOne) {
    bench.hold_up();
    auto stale = bench.service().save_async(held_step(kAnn, 1));
    auto twin = bench.service().save_async(held_step(kAnn, 1));
    auto fresh = bench.service().save_async(held_step(kBob, 1));
    ASSERT_TRUE(bench.becomes_queued(2));
    lease_to(*bench.inner, kBob, kAnn);
    bench.let_go();
    expect_superseded(stale.get());
    expect_superseded(twin.get());
    EXPECT_TRUE(fresh.get().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST(LeaseOfLatestOnly, ASaveReplacesOnlyOneUnderTheSameLease) {
    QueueBench bench;
    bench.options.latest_only = true;
    bench.options.durability = Durability::kExit;
    lease_to(*bench.inner, kAnn);
    const Receipt first = bench.service().save_agent_state(held_step(kAnn, 1)).value();
    EXPECT_EQ(bench.service().save_agent_state(held_step(kAnn, 2)).value().snapshot_id, first.snapshot_id);
    EXPECT_NE(bench.service().save_agent_state(held_step(kBob, 3)).value().snapshot_id, first.snapshot_id);
    lease_to(*bench.inner, kBob, kAnn);
    EXPECT_EQ(code_of(bench.service().flush("run")), ErrorCode::kConflict) << "that of the superseded one";
    EXPECT_EQ(bench.on_disk("run"), bench.steps({3}));
}

TEST_F(LeaseOfOptimized, ALeaseThatCannotBeReadIsNoReasonToSkip) {
    class BlindStore final : public ForwardingStore {
    public:
        using ForwardingStore::ForwardingStore;
        Result<std::optional<LeaseInfo>> lease(std::string_view /*run_id*/, Deadline /*deadline*/) override {
            return fail(ErrorCode::kUnavailable, "blind");
        }
    };
    OptimizedStatePersistence service(std::make_shared<BlindStore>(bench.inner), {{.runtime = make_runtime()}});
    ASSERT_TRUE(service.save_agent_state(held_step(kAnn, 1)).has_value());
    EXPECT_EQ(service.save_agent_state(held_step(kAnn, 1)).value().outcome, Outcome::kFallback);
    lease_to(*bench.inner, kBob, kAnn);
    EXPECT_FALSE(service.save_agent_state(held_step(kAnn, 1)).has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 1}));
}

}  // namespace
}  // namespace cairn::test
