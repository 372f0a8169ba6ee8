// Goal: a run has one holder at a time. A caller that cannot have the lease is told who holds it. A holder keeps its
// lease without further calls, and is told when it is lost. The next one can take a lease that was given up, or whose
// holder is dead.
// Method: tests each sentence of cairn/run_lease.h, on a memory store and on a file that every holder opens for itself;
// then two processes. Holders on other machines are written into the store by hand.

#include "support/child_process.h"
#include "support/eventually.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <cairn/faulty_store.h>
#include <cairn/run_lease.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace cairn::test {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

const LeaseOptions kNoHeartbeat{.heartbeat = milliseconds(0)};
const Lease kElsewhere{.owner = "elsewhere", .epoch = 3};

template <class T>
std::string message_of(const Result<T>& result) {
    return result ? "no error" : result.error().to_string();
}

template <class T>
void expect_code(const Result<T>& result, ErrorCode code) {
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, code) << result.error().to_string();
}

LeaseInfo held(Store& store, const std::string& run_id = "run") {
    const auto found = store.lease(run_id, soon());
    EXPECT_TRUE(found.has_value()) << message_of(found);
    return found ? found->value_or(LeaseInfo{}) : LeaseInfo{};
}

// Takes the lease for a holder that this machine knows nothing of.
void hold_elsewhere(Store& store, Timestamp heartbeat_at, const Lease& before = {}) {
    const LeaseWrite taken{.lease = kElsewhere, .heartbeat_at = heartbeat_at, .expected = before};
    ASSERT_TRUE(commit_run(store, {.run_id = "run", .lease = taken}, soon()).has_value());
}

Timestamp now() {
    return Runtime().with_defaults().clock->now();
}

// ---- on every store ----

struct Kind {
    std::string name;
    bool is_durable;
};

class LeaseOfRun : public testing::TestWithParam<Kind> {
protected:
    // Opens the store as another process would: with its own handle, if the store can have several.
    std::shared_ptr<Store> open() {
        if (GetParam().is_durable) return open_store(folder_.sqlite_url()).value();
        if (!memory_) memory_ = open_store("memory:").value();
        return memory_;
    }
    Result<RunLease> acquire(LeaseOptions options = kNoHeartbeat) {
        return RunLease::acquire(open(), "run", soon(), std::move(options));
    }
    static LeaseOptions taking_over() { return {.heartbeat = milliseconds(0), .take_over = true}; }

    TempDir folder_;
    std::shared_ptr<Store> memory_;
    std::shared_ptr<Store> store_ = open();
};

TEST_P(LeaseOfRun, IsRefusedToThoseWhoseRunItIsNotIfTheyAreNamed) {
    ASSERT_TRUE(commit_run(*store_, make_batch(make_snapshot("run", 1)), soon()).has_value());
    const auto acquire_as = [&](const char* thread, const char* user) {
        return acquire({.heartbeat = milliseconds(0), .thread_id = thread, .user_id = user});
    };
    expect_code(acquire_as("thread", "stranger"), ErrorCode::kInvalidArgument);
    expect_code(acquire_as("elsewhere", "user"), ErrorCode::kInvalidArgument);
    EXPECT_EQ(held(*store_).lease, Lease{}) << "nothing was taken";
    EXPECT_TRUE(acquire_as("thread", "user").has_value());
    EXPECT_TRUE(RunLease::acquire(store_, "new", soon(), {.heartbeat = milliseconds(0), .user_id = "user"}).has_value())
        << "a run without snapshots is nobody's yet";
}

TEST_P(LeaseOfRun, IsHeldFromAcquiringToReleasingByOneHolder) {
    Result<RunLease> lease = acquire();
    ASSERT_TRUE(lease) << message_of(lease);
    EXPECT_EQ(lease->run_id(), "run");
    EXPECT_EQ(lease->lease().epoch, 1);
    EXPECT_EQ(held(*store_).lease, lease->lease());
    EXPECT_TRUE(lease->is_held(soon()).value());
    EXPECT_TRUE(lease->renew(soon()));
    EXPECT_FALSE(lease->lost().stop_requested());
    EXPECT_TRUE(lease->release(soon()));
    EXPECT_EQ(held(*store_).lease, (Lease{.owner = "", .epoch = 1}));
    EXPECT_FALSE(lease->is_held(soon()).value());
    EXPECT_TRUE(lease->release(soon())) << "a second time is harmless";
    EXPECT_FALSE(lease->lost().stop_requested()) << "given up is not lost";
}

TEST_P(LeaseOfRun, AnotherHolderIsToldWhoHasItAndSinceWhen) {
    const Result<RunLease> lease = acquire();
    ASSERT_TRUE(lease);
    const Result<RunLease> second = acquire();
    expect_code(second, ErrorCode::kConflict);
    EXPECT_THAT(second.error().message, HasSubstr("run \"run\" is in progress: process " + std::to_string(::getpid())));
    EXPECT_THAT(second.error().message, HasSubstr(" showed life "));
    EXPECT_THAT(second.error().next_step(), HasSubstr("take the run over"));
    EXPECT_EQ(held(*store_).lease, lease->lease());
}

TEST_P(LeaseOfRun, OneThatIsReleasedOrDestroyedCanBeAcquiredAtOnceWithALargerEpoch) {
    for (std::int64_t epoch = 1; epoch <= 3; ++epoch) {
        const Result<RunLease> lease = acquire();
        ASSERT_TRUE(lease) << message_of(lease);
        EXPECT_EQ(lease->lease().epoch, epoch);
    }
    EXPECT_EQ(held(*store_).lease, (Lease{.owner = "", .epoch = 3}));
}

TEST_P(LeaseOfRun, OneThatIsTakenOverIsLostAndItsHolderToldByEachCall) {
    Result<RunLease> first = acquire();
    ASSERT_TRUE(first);
    const Result<RunLease> second = acquire(taking_over());
    ASSERT_TRUE(second) << message_of(second);
    EXPECT_EQ(second->lease().epoch, 2);
    EXPECT_FALSE(first->is_held(soon()).value());
    const Status renewed = first->renew(soon());
    expect_code(renewed, ErrorCode::kConflict);
    EXPECT_THAT(renewed.error().message, HasSubstr("the lease of run \"run\" is lost: process "));
    EXPECT_TRUE(first->lost().stop_requested());
    EXPECT_TRUE(first->release(soon())) << "there is nothing to give up";
    EXPECT_EQ(held(*store_).lease, second->lease());
}

TEST_P(LeaseOfRun, OneThatIsLostUnnoticedIsLeftToItsNewHolder) {
    Result<RunLease> first = acquire();
    ASSERT_TRUE(first);
    Result<RunLease> second = acquire(taking_over());
    ASSERT_TRUE(second);
    const Status released = first->release(soon());
    expect_code(released, ErrorCode::kConflict);
    EXPECT_THAT(released.error().message, HasSubstr("is lost: process "));
    EXPECT_EQ(held(*store_).lease, second->lease());
    ASSERT_TRUE(second->release(soon()));
    EXPECT_THAT(message_of(second->renew(soon())),
                HasSubstr("conflict: the lease of run \"run\" is lost: it was given up"));
    EXPECT_THAT(message_of(first->renew(soon())), HasSubstr("is lost: another has held it since, and given it up"));
}

TEST_P(LeaseOfRun, OneOfARunThatIsDeletedIsLost) {
    Result<RunLease> lease = acquire();
    ASSERT_TRUE(lease);
    ASSERT_TRUE(commit_run(*store_, make_run_deletion("run"), soon()));
    const Status renewed = lease->renew(soon());
    expect_code(renewed, ErrorCode::kConflict);
    EXPECT_THAT(renewed.error().message, HasSubstr("it was deleted with the run"));
    EXPECT_TRUE(lease->lost().stop_requested());
}

TEST_P(LeaseOfRun, AHolderElsewhereCountsAsDeadOnceItIsSilent) {
    hold_elsewhere(*store_, now() - std::chrono::seconds(30));
    const Result<RunLease> refused = acquire();
    expect_code(refused, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("elsewhere showed life 3"));
    LeaseOptions impatient = kNoHeartbeat;
    impatient.silence = std::chrono::seconds(20);
    const Result<RunLease> lease = acquire(impatient);
    ASSERT_TRUE(lease) << message_of(lease);
    EXPECT_EQ(lease->lease().epoch, 4);
}

TEST_P(LeaseOfRun, TheLastEpochIsNotTaken) {
    const LeaseWrite last{.lease = {.owner = "", .epoch = std::numeric_limits<std::int64_t>::max()},
                          .heartbeat_at = now()};
    ASSERT_TRUE(commit_run(*store_, {.run_id = "run", .lease = last}, soon()));
    expect_code(acquire(), ErrorCode::kLimitExceeded);
}

TEST_P(LeaseOfRun, ARunWithoutAnIdIsRefused) {
    expect_code(RunLease::acquire(store_, "", soon(), kNoHeartbeat), ErrorCode::kInvalidArgument);
}

TEST_P(LeaseOfRun, IsRenewedByItselfAndItsHolderToldWhenItIsLost) {
    const Result<RunLease> lease = acquire({.heartbeat = milliseconds(2)});
    ASSERT_TRUE(lease);
    const Timestamp first = held(*store_).heartbeat_at;
    EXPECT_TRUE(eventually([&] { return held(*store_).heartbeat_at > first; }));
    std::atomic<int> told = 0;
    const std::stop_callback when_lost(lease->lost(), [&] { ++told; });
    hold_elsewhere(*store_, now(), lease->lease());
    EXPECT_TRUE(eventually([&] { return told == 1; }));
    EXPECT_EQ(held(*store_).lease, kElsewhere);
}

TEST_P(LeaseOfRun, OfTwoHoldersThatBeginTogetherOneHasIt) {
    for (int round = 0; round < 20; ++round) {
        std::atomic<int> holders = 0;
        std::atomic<int> refused = 0;
        std::atomic<int> begun = 0;
        const auto hold = [&] {
            const std::shared_ptr<Store> own = open();
            ++begun;
            while (begun < 2) std::this_thread::yield();
            const Result<RunLease> lease = RunLease::acquire(own, "run", soon(), kNoHeartbeat);
            ++(lease ? holders : refused);
            if (!lease) {
                EXPECT_EQ(lease.error().code, ErrorCode::kConflict) << message_of(lease);
            }
            while (holders + refused < 2) std::this_thread::yield();
        };
        {
            const std::jthread first(hold);
            const std::jthread second(hold);
        }
        EXPECT_EQ(holders, 1);
        EXPECT_EQ(refused, 1);
    }
}

INSTANTIATE_TEST_SUITE_P(Stores, LeaseOfRun, testing::Values(Kind{"Memory", false}, Kind{"Sqlite", true}),
                         [](const auto& parameter) { return parameter.param.name; });

// ---- a store that fails ----

class LeaseFaults : public testing::Test {
protected:
    Result<RunLease> acquire(LeaseOptions options = kNoHeartbeat) {
        return RunLease::acquire(store, "run", soon(), std::move(options));
    }
    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(open_store("memory:").value());
};

TEST_F(LeaseFaults, OneThatWasTakenAlthoughTheOutcomeWasUnknownIsHeld) {
    store->inject({.code = ErrorCode::kOutcomeUnknown, .after_effect = true});
    const Result<RunLease> lease = acquire();
    ASSERT_TRUE(lease) << message_of(lease);
    EXPECT_TRUE(lease->is_held(soon()).value());
}

TEST_F(LeaseFaults, AnErrorOfTheStoreIsToldAndNothingIsHeld) {
    for (const StoreCall call : {StoreCall::kLease, StoreCall::kCommit}) {
        store->inject({.call = call, .code = ErrorCode::kUnavailable});
        expect_code(acquire(), ErrorCode::kUnavailable);
        EXPECT_EQ(held(*store).lease.owner, "");
    }
    store->inject({.code = ErrorCode::kOutcomeUnknown});
    expect_code(acquire(), ErrorCode::kOutcomeUnknown);
    EXPECT_EQ(held(*store).lease.owner, "");
}

// The store is slow for an hour. The test ends only because the deadline is kept.
TEST_F(LeaseFaults, EachCallEndsAtItsDeadline) {
    Result<RunLease> lease = acquire();
    ASSERT_TRUE(lease);
    const auto shortly = [] { return std::chrono::steady_clock::now() + milliseconds(20); };
    store->delay(StoreCall::kLease, std::chrono::hours(1));
    expect_code(RunLease::acquire(store, "other", shortly(), kNoHeartbeat), ErrorCode::kUnavailable);
    expect_code(lease->is_held(shortly()), ErrorCode::kUnavailable);
    store->delay(StoreCall::kLease, milliseconds(0));
    store->delay(StoreCall::kCommit, std::chrono::hours(1));
    expect_code(RunLease::acquire(store, "other", shortly(), kNoHeartbeat), ErrorCode::kUnavailable);
    expect_code(lease->renew(shortly()), ErrorCode::kUnavailable);
    expect_code(lease->release(shortly()), ErrorCode::kUnavailable);
    EXPECT_FALSE(lease->lost().stop_requested());
}

TEST_F(LeaseFaults, OneThatCouldNotBeReleasedIsReleasedByTheNextTry) {
    Result<RunLease> lease = acquire();
    ASSERT_TRUE(lease);
    store->inject({.code = ErrorCode::kUnavailable});
    expect_code(lease->release(soon()), ErrorCode::kUnavailable);
    EXPECT_EQ(held(*store).lease, lease->lease());
    EXPECT_TRUE(lease->release(soon()));
    EXPECT_EQ(held(*store).lease.owner, "");
}

// The lease is still there, and its process is alive.
TEST_F(LeaseFaults, OneWhoseReleaseFailedForGoodIsFreeOnThisMachineWhenItsHolderIsGone) {
    {
        const Result<RunLease> lease = acquire();
        ASSERT_TRUE(lease);
        store->inject({.code = ErrorCode::kUnavailable, .for_good = true});
    }
    store->heal();
    ASSERT_NE(held(*store).lease.owner, "");
    const Result<RunLease> next = acquire();
    EXPECT_TRUE(next) << message_of(next);
}

// ---- several processes ----

TEST(LeaseOfProcesses, OneThatIsGoneHoldsNothingAnyMore) {
    const TempDir folder;
    ChildProcess child([&](const Channel& channel) {
        const auto store = open_store(folder.sqlite_url()).value();
        const Result<RunLease> lease = RunLease::acquire(store, "run", soon());
        channel.say(lease ? lease->lease().epoch : -1);
        channel.hear();
        return 0;
    });
    ASSERT_EQ(child.channel().hear(), 1);
    const auto store = open_store(folder.sqlite_url()).value();
    const Result<RunLease> refused = RunLease::acquire(store, "run", soon(), kNoHeartbeat);
    expect_code(refused, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("process " + std::to_string(child.pid())));
    child.kill();
    const Result<RunLease> lease = RunLease::acquire(store, "run", soon(), kNoHeartbeat);
    ASSERT_TRUE(lease) << message_of(lease);
    EXPECT_EQ(lease->lease().epoch, 2);
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAIRN_TEST_NO_THREADS_AFTER_FORK
#endif
#endif

// The parent's thread renews the lease while the child begins. The child has neither the parent's locks nor its thread.
TEST(LeaseOfProcesses, AForkedChildHasNothingOfItsParentsLeaseAndCanHoldItsOwn) {
#ifdef CAIRN_TEST_NO_THREADS_AFTER_FORK
    GTEST_SKIP() << "ThreadSanitizer has no threads in a forked child";
#endif
    const std::shared_ptr<Store> store = open_store("memory:").value();
    std::optional<RunLease> lease =
        RunLease::acquire(store, "run", soon(), {.heartbeat = std::chrono::hours(1)}).value();
    ChildProcess child([&](const Channel&) {
        const Status renewed = lease->renew(soon());
        if (renewed || renewed.error().code != ErrorCode::kClosed) return 1;
        const Lease of_parent = lease->lease();
        lease.reset();
        if (held(*store).lease != of_parent) return 2;
        const Result<RunLease> own = RunLease::acquire(store, "other", soon(), {.heartbeat = milliseconds(2)});
        if (!own) return 3;
        const Timestamp first = held(*store, "other").heartbeat_at;
        return eventually([&] { return held(*store, "other").heartbeat_at > first; }) ? 0 : 4;
    });
    EXPECT_EQ(child.wait(), 0);
    EXPECT_TRUE(lease->renew(soon()));
}

}  // namespace
}  // namespace cairn::test
