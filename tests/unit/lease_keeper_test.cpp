// Goal: all leases of a process on one store cost one thread and one commit per heartbeat. A lease that is lost costs
// the others nothing. Heartbeats go on, whatever fails meanwhile.
// Method: a memory store counts commits and fails on demand. The content of a commit shows which leases are renewed
// together. Commits are counted; no duration is asserted.

#include "support/allocation_faults.h"
#include "support/eventually.h"
#include "support/make.h"
#include "support/threads_of_process.h"

#include <cairn/faulty_store.h>
#include <cairn/run_lease.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

using std::chrono::milliseconds;
using testing::Each;
using testing::HasSubstr;

class LeaseKeeping : public testing::Test {
protected:
    LeaseKeeping() {
        store->before_commit([this](std::span<const RunBatch> batches) {
            const bool renews = std::ranges::all_of(batches, [](const RunBatch& batch) {
                return batch.lease && batch.lease->lease == batch.lease->expected;
            });
            if (!renews) return;
            const std::lock_guard lock(mutex_);
            renewals_.push_back(batches.size());
        });
    }
    ~LeaseKeeping() override { AllocationFaults::disarm(); }
    LeaseKeeping(const LeaseKeeping&) = delete;
    LeaseKeeping& operator=(const LeaseKeeping&) = delete;

    RunLease acquire(const std::string& run_id, LeaseOptions options) {
        Result<RunLease> lease = RunLease::acquire(store, run_id, soon(), std::move(options));
        if (!lease) throw std::runtime_error(lease.error().to_string());
        return *std::move(lease);
    }
    std::vector<RunLease> acquire_many(std::size_t count, const LeaseOptions& options) {
        std::vector<RunLease> leases;
        for (std::size_t i = 0; i < count; ++i) leases.push_back(acquire(fmt::format("run {}", i), options));
        return leases;
    }
    /// Returns the number of leases that each commit renewed, including commits that failed.
    std::vector<std::size_t> renewals() const {
        const std::lock_guard lock(mutex_);
        return renewals_;
    }
    bool come_more(std::size_t count) {
        const std::size_t before = renewals().size();
        return eventually([&] { return renewals().size() >= before + count; });
    }
    Timestamp heartbeat_at(const std::string& run_id) { return (*store->lease(run_id, soon()))->heartbeat_at; }
    void take_away(const RunLease& lease) {
        const LeaseWrite taken{.lease = {.owner = "elsewhere", .epoch = lease.lease().epoch + 1},
                               .heartbeat_at = kEpoch,
                               .expected = lease.lease()};
        ASSERT_TRUE(commit_run(*store, {.run_id = lease.run_id(), .lease = taken}, soon()));
    }

    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(open_store("memory:").value());

private:
    mutable std::mutex mutex_;
    std::vector<std::size_t> renewals_;
};

const LeaseOptions kOften{.heartbeat = milliseconds(5)};
const LeaseOptions kNeverYet{.heartbeat = std::chrono::hours(10'000'000)};  // longer than a clock can count

// ---- together ----

TEST_F(LeaseKeeping, AllLeasesAreRenewedByOneCommitAHeartbeatAndOneThread) {
    const std::size_t threads = threads_of_process();
    const auto begin = std::chrono::steady_clock::now();
    const LeaseOptions options{.heartbeat = milliseconds(40)};
    const std::vector<RunLease> leases = acquire_many(50, options);
    EXPECT_LE(threads_of_process(), threads + 1);
    const std::size_t before = renewals().size();
    ASSERT_TRUE(come_more(8));
    const std::vector<std::size_t> all = renewals();
    const auto heartbeats = (std::chrono::steady_clock::now() - begin) / options.heartbeat;
    EXPECT_LE(all.size(), static_cast<std::size_t>(heartbeats) + 2);
    // The first commit may have begun before the last lease was there, and the second may be for that lease alone.
    EXPECT_THAT(std::vector(all.begin() + static_cast<std::ptrdiff_t>(before) + 2, all.end()), Each(50U));
}

TEST_F(LeaseKeeping, LeasesOfUnlikeHeartbeatsGoTogetherWhereTheyCan) {
    const RunLease often = acquire("often", kOften);
    const RunLease seldom = acquire("seldom", {.heartbeat = milliseconds(50)});
    const Timestamp first = heartbeat_at("seldom");
    ASSERT_TRUE(eventually([&] { return heartbeat_at("seldom") > first; }));
    ASSERT_TRUE(come_more(40));
    const std::vector<std::size_t> all = renewals();
    EXPECT_LE(std::ranges::count(all, 2U), std::ssize(all) / 2) << "the seldom one is renewed as often as the other";
    EXPECT_GE(std::ranges::count(all, 2U), 1);
}

TEST_F(LeaseKeeping, TheThreadEndsWithTheLastLeaseAndLetsGoOfTheStore) {
    const std::size_t threads = threads_of_process();
    std::optional<RunLease> first = acquire("first", kOften);
    std::optional<RunLease> second = acquire("second", kOften);
    first.reset();
    ASSERT_TRUE(come_more(2));
    EXPECT_EQ(renewals().back(), 1U) << "one that was released is not renewed any more";
    second.reset();
    EXPECT_EQ(store.use_count(), 1);
    EXPECT_TRUE(eventually([&] { return threads_of_process() <= threads; }));
    const RunLease third = acquire("third", kOften);
    EXPECT_TRUE(come_more(1));
}

TEST_F(LeaseKeeping, AMovedLeaseIsRenewedAndTheOneThatItReplacesIsReleased) {
    RunLease lease = acquire("first", kOften);
    lease = acquire("second", kOften);
    EXPECT_EQ((*store->lease("first", soon()))->lease.owner, "");
    ASSERT_TRUE(come_more(3));
    EXPECT_EQ(renewals().back(), 1U);
    EXPECT_TRUE(lease.is_held(soon()).value());
}

// ---- lost leases ----

TEST_F(LeaseKeeping, ALeaseThatIsLostIsToldOnceAndCostsTheOthersNothing) {
    const std::vector<RunLease> leases = acquire_many(5, kOften);
    std::atomic<int> told = 0;
    const std::stop_callback when_lost(leases[2].lost(), [&] { ++told; });
    take_away(leases[2]);
    ASSERT_TRUE(eventually([&] { return told == 1; }));
    ASSERT_TRUE(come_more(3));
    EXPECT_EQ(renewals().back(), 4U);
    EXPECT_EQ(told, 1);
    for (const std::size_t i : {0U, 1U, 3U, 4U}) EXPECT_FALSE(leases[i].lost().stop_requested()) << i;
}

TEST_F(LeaseKeeping, OfTwoLeasesOfOneRunTheOlderOneIsLostAtOnce) {
    const RunLease older = acquire("run", kNeverYet);
    LeaseOptions taking_over = kNeverYet;
    taking_over.take_over = true;
    const RunLease newer = acquire("run", taking_over);
    EXPECT_TRUE(eventually([&] { return older.lost().stop_requested(); }));
    EXPECT_FALSE(newer.lost().stop_requested());
    EXPECT_TRUE(renewals().empty());
}

TEST_F(LeaseKeeping, AHolderThatIsToldMayGiveTheLeaseUp) {
    std::optional<RunLease> lease = acquire("run", kOften);
    const std::stop_token lost = lease->lost();
    std::atomic<bool> is_gone = false;
    const std::stop_callback when_lost(lost, [&] {
        lease.reset();  // the last lease: the thread ends with it
        is_gone = true;
    });
    take_away(*lease);
    EXPECT_TRUE(eventually([&] { return is_gone.load(); }));
    EXPECT_TRUE(eventually([&] { return store.use_count() == 1; }));
}

TEST_F(LeaseKeeping, ReleasingWaitsForNobodyWhoReleasesTheSameLease) {
    RunLease lease = acquire("run", kOften);
    std::atomic<bool> is_told = false;
    std::atomic<bool> is_released = false;
    const std::stop_callback when_lost(lease.lost(), [&] {
        is_told = true;
        EXPECT_TRUE(lease.release(soon()));
        is_released = true;
    });
    take_away(lease);
    ASSERT_TRUE(eventually([&] { return is_told.load(); }));
    EXPECT_TRUE(lease.release(soon()));
    EXPECT_TRUE(eventually([&] { return is_released.load(); }));
}

// ---- failures ----

TEST_F(LeaseKeeping, ARenewalThatFailsIsTriedAgainAndSaidOnce) {
    std::atomic<int> said = 0;
    LeaseOptions options = kOften;
    options.runtime.log = [&](const LogRecord& record) {
        if (record.event == "leases_not_renewed") ++said;
    };
    const RunLease lease = acquire("run", options);
    for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kOutcomeUnknown, ErrorCode::kConflict}) {
        store->inject({.code = code, .for_good = true});
        const std::uint64_t failures = store->failures(StoreCall::kCommit);
        ASSERT_TRUE(eventually([&] { return store->failures(StoreCall::kCommit) >= failures + 5; }));
        store->heal();
        const Timestamp before = heartbeat_at("run");
        EXPECT_TRUE(eventually([&] { return heartbeat_at("run") > before; }));
        EXPECT_FALSE(lease.lost().stop_requested())
            << "only another holder makes it lost: not " << static_cast<int>(code);
    }
    EXPECT_EQ(said, 3);
}

TEST_F(LeaseKeeping, OneThatCannotBeRenewedIsLostWhenItsPatienceIsOver) {
    LeaseOptions impatient = kOften;
    impatient.patience = milliseconds(50);
    const RunLease first = acquire("first", impatient);
    const RunLease second = acquire("second", kOften);
    store->inject({.code = ErrorCode::kUnavailable, .for_good = true});
    EXPECT_TRUE(eventually([&] { return first.lost().stop_requested(); }));
    EXPECT_FALSE(second.lost().stop_requested());
    store->heal();
    ASSERT_TRUE(come_more(3));
    EXPECT_EQ(renewals().back(), 1U);
}

TEST_F(LeaseKeeping, OneThatMayNotWaitForTheStoreDoesNotKeepTheOthersFromIt) {
    LeaseOptions in_a_hurry = kOften;
    in_a_hurry.timeout = milliseconds(0);
    const RunLease first = acquire("first", in_a_hurry);
    const RunLease second = acquire("second", kOften);
    store->delay(StoreCall::kCommit, milliseconds(1));
    const Timestamp before = heartbeat_at("second");
    EXPECT_TRUE(eventually([&] { return heartbeat_at("second") > before; }));
    store->delay(StoreCall::kCommit, milliseconds(0));
}

TEST_F(LeaseKeeping, GoesOnAfterAnAllocationOfItsThreadHasFailed) {
    if (!AllocationFaults::kNewCanFail) GTEST_SKIP() << "a sanitizer brings an operator new of its own";
    const std::vector<RunLease> leases = acquire_many(3, kOften);
    for (int nth = 1; nth <= 40; ++nth) {
        AllocationFaults::arm(
            {.where = AllocationFaults::Where::kNewOnOtherThreads, .nth = nth, .for_good = nth % 4 == 0});
        ASSERT_TRUE(eventually([] { return AllocationFaults::struck(); })) << nth;
        AllocationFaults::disarm();
        const Timestamp before = heartbeat_at("run 0");
        ASSERT_TRUE(eventually([&] { return heartbeat_at("run 0") > before; })) << nth;
    }
    for (const RunLease& lease : leases) EXPECT_FALSE(lease.lost().stop_requested());
}

TEST_F(LeaseKeeping, GoesOnAfterAClockHasThrown) {
    class BrokenClock final : public Clock {
    public:
        Timestamp now() override {
            if (is_broken) throw std::runtime_error("no time");
            return real_->now();
        }
        std::atomic<bool> is_broken = false;

    private:
        std::shared_ptr<Clock> real_ = Runtime().with_defaults().clock;
    };
    const auto clock = std::make_shared<BrokenClock>();
    std::atomic<int> said = 0;
    LeaseOptions options = kOften;
    options.runtime.clock = clock;
    options.runtime.log = [&](const LogRecord&) { ++said; };
    const RunLease lease = acquire("run", options);
    clock->is_broken = true;
    ASSERT_TRUE(eventually([&] { return said > 0; }));
    clock->is_broken = false;
    EXPECT_TRUE(come_more(2));
    EXPECT_FALSE(lease.lost().stop_requested());
}

}  // namespace
}  // namespace cairn::test
