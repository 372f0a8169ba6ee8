// Goal: for any tree, policy and failure, the snapshots that the policy lets go are gone, the rest loads, and the next
// prune finishes.
// Method: random trees and policies, compared with a model that is written independently. Then every call of the store
// fails in turn, before and after its effect.

#include <cairn/retention.h>

#include "support/seed.h"
#include "unit/retention_bench.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>
#include <vector>

namespace cairn {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using test::ChainedRun;
using test::expect_intact;
using test::history;
using test::Versions;
using test::versions_in;

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

// The model: the same rules, written independently of the library.
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

// Fails the 1st, 2nd, 3rd … call, until a whole prune passes without reaching the fault.
TEST_P(RetentionFault, AtAnyCallLeavesAllLoadableAndTheNextPruneFinishes) {
    const auto [call, code, after_effect] = GetParam();
    std::uint64_t nth = 0;
    for (bool has_met = true; has_met;) {
        SCOPED_TRACE(fmt::format("call {}", ++nth));
        ASSERT_LT(nth, 200U);
        const auto memory = make_memory_store();
        const auto store = std::make_shared<FaultyStore>(memory);
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
        if (call == StoreCall::kCommit && code == ErrorCode::kStorageFull) {
            // A step that fails is retried in smaller ones, but the smallest is not.
            EXPECT_TRUE(report || report.error().code == ErrorCode::kStorageFull);
        } else {
            EXPECT_EQ(report.has_value(), !has_met || (call == StoreCall::kCommit && is_retried));
        }
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
        const auto store = std::make_shared<FaultyStore>(memory);
        ChainedRun run(*memory, "run");
        for (int i = 1; i <= 24; ++i) run.append(i % 7 == 0 ? i - 3 : i % 10 == 0 ? 0 : i - 1);
        const RetentionOptions options{.snapshots_per_commit = 3};
        store->inject({.call = call, .code = code, .nth = nth, .after_effect = after_effect});
        const Result<RetentionReport> report = delete_runs(*store, {.run_id = "run"}, options);
        has_met = store->failures(call) > 0;
        const bool is_there = memory->head("run", test::soon()).value().has_value();
        if (report) {
            EXPECT_FALSE(is_there);
            EXPECT_EQ(report->runs_deleted, 1U);
            EXPECT_EQ(report->snapshots_deleted, 24U);
        }
        expect_intact(*memory, run);
        store->heal();
        const Result<RetentionReport> again = delete_runs(*store, {.run_id = "run"}, options);
        EXPECT_EQ(again.has_value(), is_there);
        EXPECT_FALSE(memory->head("run", test::soon()).value());
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
