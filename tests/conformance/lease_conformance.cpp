// Goal: a run has one executor at a time. Taking the lease succeeds only if it is as the taker expects, and an executor
// that was superseded can write nothing more.
// Method: tests each rule alone; for refusals, the whole store is read before and after. Then compares random takers,
// renewers and writers with a model that is a map.

#include "conformance/store_conformance.h"

#include "support/seed.h"

#include <fmt/format.h>

#include <limits>
#include <map>
#include <random>
#include <string>
#include <utility>

namespace cairn::test {
namespace {

const Lease kAnn{.owner = "ann", .epoch = 1};
const Lease kBob{.owner = "bob", .epoch = 2};

LeaseWrite lease_write(const Lease& lease, const Lease& expected) {
    return {.lease = lease, .heartbeat_at = kEpoch, .expected = expected};
}

RunBatch leasing(const Lease& lease, const Lease& expected = {}, const std::string& run_id = "run") {
    return {.run_id = run_id, .lease = lease_write(lease, expected)};
}

RunBatch saving_under(const Lease& lease, std::int64_t version, const std::string& run_id = "run") {
    RunBatch batch = make_batch(make_snapshot(run_id, version));
    batch.writes.front().lease = lease;
    return batch;
}

std::optional<Lease> lease_of(Store& store, const std::string& run_id = "run") {
    const auto found = store.lease(run_id, soon());
    EXPECT_TRUE(is_ok(found));
    return found && *found ? std::optional((*found)->lease) : std::nullopt;
}

// ---- taking, renewing, giving up ----

TEST_P(StoreConformance, ARunThatNobodyEverHeldHasNoLease) {
    add_versions("run", 1, 1);
    EXPECT_EQ(lease_of(store()), std::nullopt);
    EXPECT_EQ(lease_of(store(), "no run"), std::nullopt);
    EXPECT_FALSE(all_runs(store()).at(0).lease);
}

TEST_P(StoreConformance, ALeaseIsTakenBeforeTheRunHasASnapshot) {
    ASSERT_TRUE(is_ok(commit(leasing(kAnn))));
    EXPECT_EQ(lease_of(store()), kAnn);
    EXPECT_TRUE(all_runs(store()).empty()) << "a lease makes no run";
    EXPECT_EQ(head_version("run"), 0);
    ASSERT_TRUE(is_ok(commit(saving_under(kAnn, 1))));
    const RunInfo run = all_runs(store()).at(0);
    ASSERT_TRUE(run.lease);
    EXPECT_EQ(run.lease->lease, kAnn);
    EXPECT_EQ(run.lease->heartbeat_at, kEpoch);
}

TEST_P(StoreConformance, ALeaseIsRenewedTakenOverAndGivenUp) {
    ASSERT_TRUE(is_ok(commit(leasing(kAnn))));
    LeaseWrite renewal = lease_write(kAnn, kAnn);
    renewal.heartbeat_at = kEpoch + std::chrono::microseconds(1'234'567);
    ASSERT_TRUE(is_ok(commit(RunBatch{.run_id = "run", .lease = renewal})));
    EXPECT_EQ(store().lease("run", soon()).value()->heartbeat_at, renewal.heartbeat_at);
    ASSERT_TRUE(is_ok(commit(leasing(kBob, kAnn))));
    EXPECT_EQ(lease_of(store()), kBob);
    const Lease given_up{.owner = "", .epoch = 2};
    ASSERT_TRUE(is_ok(commit(leasing(given_up, kBob))));
    EXPECT_EQ(lease_of(store()), given_up);
    EXPECT_EQ(error_code(commit(leasing({.owner = "ann", .epoch = 2}, given_up))), ErrorCode::kInvalidArgument);
    EXPECT_TRUE(is_ok(commit(leasing({.owner = "ann", .epoch = 3}, given_up))));
}

TEST_P(StoreConformance, ALeaseThatIsNotTheExpectedOneIsAConflictThatNamesIt) {
    ASSERT_TRUE(is_ok(commit(leasing(kBob))));
    const std::vector<Lease> wrong = {{}, kAnn, {.owner = "bob", .epoch = 1}, {.owner = "ann", .epoch = 2}};
    for (const Lease& expected : wrong) {
        const Status status = commit(leasing({.owner = "eve", .epoch = 9}, expected));
        ASSERT_EQ(error_code(status), ErrorCode::kConflict);
        EXPECT_NE(status.error().message.find("run \"run\" has the lease of \"bob\", epoch 2"), std::string::npos)
            << status.error().message;
    }
    EXPECT_EQ(lease_of(store()), kBob);
    EXPECT_EQ(error_code(commit(leasing(kBob, kAnn, "other"))), ErrorCode::kConflict)
        << "nobody holds it, and somebody was expected to";
    EXPECT_EQ(lease_of(store(), "other"), std::nullopt);
}

TEST_P(StoreConformance, AnEpochIsPositiveAndGrowsWithEachNewOwner) {
    const std::vector<std::pair<Lease, Lease>> invalid = {
        {{.owner = "ann", .epoch = 0}, {}},   {{.owner = "ann", .epoch = -1}, {}},  {{.owner = "", .epoch = 0}, {}},
        {{.owner = "bob", .epoch = 1}, kAnn}, {{.owner = "bob", .epoch = 1}, kBob}, {{.owner = "", .epoch = 1}, kBob}};
    for (const auto& [lease, expected] : invalid) {
        EXPECT_EQ(error_code(commit(leasing(lease, expected))), ErrorCode::kInvalidArgument)
            << lease.owner << " " << lease.epoch << " after " << expected.owner << " " << expected.epoch;
    }
    EXPECT_EQ(error_code(commit(leasing(kAnn, {}, ""))), ErrorCode::kInvalidArgument);
    const Lease last{.owner = "ann", .epoch = std::numeric_limits<std::int64_t>::max()};
    ASSERT_TRUE(is_ok(commit(leasing(last))));
    EXPECT_EQ(error_code(commit(leasing({.owner = "bob", .epoch = last.epoch}, last))), ErrorCode::kInvalidArgument);
    EXPECT_EQ(lease_of(store()), last);
}

TEST_P(StoreConformance, EachRunOfACommitHasItsOwnLease) {
    ASSERT_TRUE(
        is_ok(commit(std::vector<RunBatch>{leasing(kAnn), leasing({.owner = "eve", .epoch = 7}, {}, "other")})));
    EXPECT_EQ(lease_of(store()), kAnn);
    EXPECT_EQ(lease_of(store(), "other"), (Lease{.owner = "eve", .epoch = 7}));
}

TEST_P(StoreConformance, ALeaseThatIsLostCostsNoOtherRunItsOwn) {
    ASSERT_TRUE(is_ok(commit(std::vector<RunBatch>{leasing(kAnn), leasing(kAnn, {}, "other")})));
    ASSERT_TRUE(is_ok(commit(leasing(kBob, kAnn))));
    const auto renewed =
        store().commit(std::vector<RunBatch>{leasing(kAnn, kAnn), leasing(kAnn, kAnn, "other")}, soon());
    ASSERT_TRUE(is_ok(renewed));
    EXPECT_EQ(error_code(renewed->at(0)), ErrorCode::kConflict);
    EXPECT_TRUE(is_ok(renewed->at(1)));
    EXPECT_EQ(lease_of(store()), kBob);
    EXPECT_EQ(lease_of(store(), "other"), kAnn);
}

// ---- writing under a lease ----

TEST_P(StoreConformance, AWriteUnderAnothersLeaseIsAConflictAndNothingIsApplied) {
    ASSERT_TRUE(is_ok(commit(leasing(kAnn))));
    ASSERT_TRUE(is_ok(commit(saving_under(kAnn, 1))));
    ASSERT_TRUE(is_ok(commit(leasing(kBob, kAnn))));
    const auto before = everything(store());
    for (const Lease& stale : {Lease{}, kAnn, Lease{.owner = "bob", .epoch = 1}, Lease{.owner = "ann", .epoch = 2}}) {
        const Status status = commit(saving_under(stale, 2));
        ASSERT_EQ(error_code(status), ErrorCode::kConflict);
        EXPECT_NE(status.error().message.find("is executed by another now"), std::string::npos)
            << status.error().message;
    }
    EXPECT_EQ(everything(store()), before);
    EXPECT_TRUE(is_ok(commit(saving_under(kBob, 2))));
    EXPECT_TRUE(is_ok(commit(make_snapshot("run", 3)))) << "who gives no lease is not asked for one";
}

TEST_P(StoreConformance, AWriteUnderALeaseThatNobodyTookIsAConflictAndMakesNoRun) {
    EXPECT_EQ(error_code(commit(saving_under(kAnn, 1))), ErrorCode::kConflict);
    EXPECT_TRUE(all_runs(store()).empty());
    EXPECT_TRUE(is_ok(commit(saving_under({}, 1)))) << "that nobody holds it may be required too";
}

TEST_P(StoreConformance, ALeaseIsInPlaceBeforeTheWritesOfItsBatch) {
    RunBatch batch = saving_under(kAnn, 1);
    batch.lease = lease_write(kAnn, {});
    ASSERT_TRUE(is_ok(commit(batch)));
    RunBatch handed_over = saving_under(kAnn, 2);
    handed_over.lease = lease_write(kBob, kAnn);
    EXPECT_EQ(error_code(commit(handed_over)), ErrorCode::kConflict);
    EXPECT_EQ(lease_of(store()), kAnn) << "all of a batch or nothing";
}

// A writer that repeats a commit of unknown outcome must learn that it was applied, even if it was superseded since.
TEST_P(StoreConformance, ATakenIdIsToldBeforeALostLeaseAndThatBeforeAMovedHead) {
    ASSERT_TRUE(is_ok(commit(leasing(kAnn))));
    ASSERT_TRUE(is_ok(commit(saving_under(kAnn, 1))));
    ASSERT_TRUE(is_ok(commit(leasing(kBob, kAnn))));
    EXPECT_EQ(error_code(commit(saving_under(kAnn, 1))), ErrorCode::kAlreadyExists);
    const Status status = commit(saving_under(kAnn, 7));
    ASSERT_EQ(error_code(status), ErrorCode::kConflict);
    EXPECT_NE(status.error().message.find("is executed by another now"), std::string::npos) << status.error().message;
}

// ---- listing and deleting ----

TEST_P(StoreConformance, ARunIsListedWithTheMetadataOfItsHead) {
    for (std::int64_t version = 1; version <= 3; ++version) {
        Snapshot snapshot = make_snapshot("run", version);
        if (version != 2) snapshot.info.metadata = fmt::format(R"({{"step":{}}})", version);
        ASSERT_TRUE(is_ok(commit(snapshot)));
        EXPECT_EQ(all_runs(store()).at(0).metadata, snapshot.info.metadata);
    }
}

TEST_P(StoreConformance, ADeletedRunLeavesNoLease) {
    ASSERT_TRUE(is_ok(commit(leasing(kBob))));
    ASSERT_TRUE(is_ok(commit(saving_under(kBob, 1))));
    ASSERT_TRUE(is_ok(commit(leasing(kAnn, {}, "never saved"))));
    ASSERT_TRUE(is_ok(commit(std::vector<RunBatch>{make_run_deletion("run"), make_run_deletion("never saved")})));
    EXPECT_EQ(lease_of(store()), std::nullopt);
    EXPECT_EQ(lease_of(store(), "never saved"), std::nullopt);
    EXPECT_TRUE(is_ok(commit(leasing(kAnn)))) << "a run made anew begins anew";
}

TEST_P(DurableStoreConformance, ALeaseIsThereInEveryHandleAndAfterOpeningAgain) {
    const auto other = open_again();
    ASSERT_TRUE(is_ok(commit(leasing(kAnn))));
    EXPECT_EQ(lease_of(*other), kAnn);
    ASSERT_TRUE(is_ok(commit_run(*other, leasing(kBob, kAnn), soon())));
    EXPECT_EQ(error_code(commit(saving_under(kAnn, 1))), ErrorCode::kConflict);
    ASSERT_TRUE(is_ok(store().close()));
    ASSERT_TRUE(is_ok(other->close()));
    EXPECT_EQ(lease_of(*open_again({.read_only = true})), kBob);
    EXPECT_EQ(error_code(commit_run(*open_again({.read_only = true}), leasing(kBob, kBob), soon())),
              ErrorCode::kReadOnly);
}

// ---- at random ----

TEST_P(StoreConformance, RandomLeasesAndSavesDoWhatAModelDoes) {
    const std::uint64_t seed = test::seed();
    SCOPED_TRACE(replay_line(seed));
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t limit) { return random() % limit; };
    const auto any_lease = [&]() -> Lease {
        if (below(6) == 0) return {};
        return {.owner = below(4) == 0 ? "" : fmt::format("owner {}", below(3)),
                .epoch = static_cast<std::int64_t>(below(4) + 1)};
    };
    std::map<std::string, Lease> leases;
    std::map<std::string, std::int64_t> heads;
    int refusals = 0;
    for (int step = 0; step < 1500; ++step) {
        const std::string run_id = fmt::format("run {}", below(3));
        const Lease current = leases.contains(run_id) ? leases.at(run_id) : Lease{};
        const Lease given = below(2) == 0 ? current : any_lease();
        if (below(40) == 0) {
            ASSERT_TRUE(is_ok(commit(make_run_deletion(run_id))));
            leases.erase(run_id);
            heads.erase(run_id);
        } else if (below(2) == 0) {
            const Status status = commit(saving_under(given, heads[run_id] + 1, run_id));
            ASSERT_EQ(status.has_value(), given == current) << "step " << step;
            status ? ++heads[run_id] : ++refusals;
        } else {
            const Lease next{.owner = fmt::format("owner {}", below(3)), .epoch = given.epoch + 1};
            const Status status = commit(leasing(next, given, run_id));
            ASSERT_EQ(status.has_value(), given == current) << "step " << step;
            if (status) leases[run_id] = next;
        }
        ASSERT_EQ(lease_of(store(), run_id).value_or(Lease{}), leases.contains(run_id) ? leases.at(run_id) : Lease{})
            << "step " << step;
        ASSERT_EQ(head_version(run_id), heads.contains(run_id) ? heads.at(run_id) : 0) << "step " << step;
    }
    EXPECT_GT(refusals, 100) << "nothing was tested";
    EXPECT_TRUE(store().check(soon()).value().findings.empty());
}

}  // namespace
}  // namespace cairn::test
