// Goal: whatever fails in the store, in the machine or between two executions of a run, a result that was reported as
// saved is there, no finished step runs again, and the run can be continued to the state of an undisturbed run.
// Method: agents are lambdas over a memory store. The first test lets the n-th commit fail, n = 1, 2, 3 …, with each
// error, once and for good. Then it heals the store and goes on with a new executor. The other tests look at one fault
// each.

#include "pipeline/lease/executor_identity.h"
#include "pipeline/run/run_progress.h"
#include "support/child_process.h"
#include "support/pipeline_bench.h"
#include "support/temp_dir.h"
#include "support/thread_faults.h"

#include <cairn/retention.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <future>
#include <limits>
#include <optional>
#include <set>

namespace cairn::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class PipelineFaults : public testing::Test {
protected:
    // No frame needs another one, so any snapshot may be deleted.
    PipelineFaults() { bench.options.config.enable_optimized_persistence = false; }

    /// Returns the progress in the run's head.
    RunProgress progress(const std::string& run_id = "run") {
        const auto head = bench.store->get(run_id, std::nullopt, soon()).value();
        return head ? RunProgress::parse(head->info.metadata).value() : RunProgress{};
    }
    /// Returns the steps whose results are saved.
    std::set<std::string> finished(const Pipeline& pipeline) {
        const RunProgress saved = progress();
        std::set<std::string> steps;
        for (std::size_t i = 0; i < saved.stages_completed; ++i) {
            for (const Step& step : pipeline.stages[i].steps) steps.insert(step.name);
        }
        for (const auto& [step, id] : saved.group_finished) steps.insert(step);
        return steps;
    }
    Status prune(const SnapshotInfo& info) {
        RunBatch batch{.run_id = info.run_id};
        batch.deletions.push_back({.version = info.version, .snapshot_id = info.snapshot_id});
        return commit_run(*bench.store, batch, soon());
    }

    PipelineBench bench;
};

// ---- every commit ----

struct Disturbance {
    Durability durability;
    OnSaveFailure policy;
    bool for_good;
    bool is_optimized;
};

class EveryCommit : public PipelineFaults, public testing::WithParamInterface<Disturbance> {
protected:
    // Executes a run with the fault, and goes on with it. Returns false if the run ended before the commit that was to
    // fail.
    bool disturb(const Fault& fault) {
        SCOPED_TRACE(testing::Message() << "commit " << fault.nth << " fails with " << error_info(fault.code).name
                                        << (fault.after_effect ? " after its effect" : ""));
        const auto store = std::make_shared<FaultyStore>(make_memory_store());
        bench.store = store;
        bench.journal.clear();
        store->inject(fault);
        const auto disturbed = bench.execute(pipeline);
        const bool has_failed = store->failures(StoreCall::kCommit) > 0;
        store->heal();
        const std::set<std::string> saved = finished(pipeline);
        if (disturbed) expect_true(*disturbed, saved);
        // The lease of the first executor could not be given up.
        bench.context.take_over = fault.for_good;
        if (fault.for_good) bench.options.silence = std::chrono::milliseconds(0);
        EXPECT_EQ(bench.complete(pipeline).state.text(), kUndisturbed);
        for (const std::string& step : saved) EXPECT_THAT(bench.journal.attempts(step), SizeIs(1)) << step;
        return has_failed;
    }
    static void expect_true(const PipelineResult& result, const std::set<std::string>& saved) {
        for (const StepResult& step : result.steps) {
            EXPECT_TRUE(!step.is_saved || saved.contains(step.step)) << step.step << " is told to be saved";
        }
        EXPECT_EQ(result.error.has_value(), result.status != PipelineStatus::kCompleted);
    }

    static constexpr std::string_view kUndisturbed =
        R"({"question":"why","a":true,"x":true,"y":true,"z":true,"b":true,"v":true,"w":true,"c":true})";
    const Pipeline pipeline{
        .name = "p", .stages = {alone("a"), together({"x", "y", "z"}), alone("b"), together({"v", "w"}), alone("c")}};
};

TEST_P(EveryCommit, MayFailAndTheRunGoesOnFromWhatWasSaved) {
    bench.options.heartbeat = std::chrono::hours(1);
    bench.options.config.durability = GetParam().durability;
    bench.options.config.enable_optimized_persistence = GetParam().is_optimized;
    bench.options.on_save_failure = GetParam().policy;
    for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kStorageFull, ErrorCode::kOutcomeUnknown,
                                 ErrorCode::kInternal, ErrorCode::kCorrupt, ErrorCode::kConflict}) {
        for (const bool after_effect : {false, true}) {
            if (after_effect && code != ErrorCode::kOutcomeUnknown) continue;
            if (GetParam().for_good && code == ErrorCode::kConflict)
                continue;  // the commit is tried again until its deadline
            Fault fault{.code = code, .for_good = GetParam().for_good, .after_effect = after_effect};
            for (fault.nth = 1; disturb(fault); ++fault.nth) {
            }
            EXPECT_GT(fault.nth, 3U);
        }
    }
}

std::vector<Disturbance> disturbances() {
    std::vector<Disturbance> all;
    for (const Durability durability : {Durability::kSync, Durability::kAsync, Durability::kExit}) {
        for (const OnSaveFailure policy : {OnSaveFailure::kStop, OnSaveFailure::kGoOn}) {
            for (const bool for_good : {false, true}) {
                for (const bool is_optimized : {false, true}) {
                    if (!is_optimized && durability == Durability::kAsync) continue;
                    all.push_back({durability, policy, for_good, is_optimized});
                }
            }
        }
    }
    return all;
}

INSTANTIATE_TEST_SUITE_P(Policies, EveryCommit, testing::ValuesIn(disturbances()), [](const auto& parameter) {
    const Disturbance& how = parameter.param;
    return std::string(to_string(how.durability)) + (how.policy == OnSaveFailure::kStop ? "Stop" : "GoOn") +
           (how.for_good ? "ForGood" : "Once") + (how.is_optimized ? "Optimized" : "Standard");
});

// ---- attempts ----

// In its second execution, the step dies together with the store, after the other step's result was saved.
TEST_F(PipelineFaults, AttemptsAreCountedOnWhenAnotherStepOfTheGroupWasSavedSince) {
    bench.add_breakable("breakable");
    bench.add("dies", [&](const State&, const AgentCall& call) -> Result<State> {
        if (call.attempt == 2) {
            while (!progress().group_finished.contains("x")) std::this_thread::yield();
            bench.store->inject({.code = ErrorCode::kUnavailable, .for_good = true});
        }
        return fail(ErrorCode::kUnavailable, "not now");
    });
    Pipeline pipeline{.name = "p", .stages = {together({"x", "y"}, "breakable")}};
    pipeline.stages[0].steps[1].agent = "dies";
    pipeline.stages[0].steps.push_back({.name = "z", .agent = "breakable"});
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    bench.is_broken = false;
    ASSERT_TRUE(bench.execute(pipeline));
    bench.store->heal();
    bench.context.take_over = true;
    ASSERT_TRUE(bench.execute(pipeline));
    EXPECT_THAT(bench.journal.attempts("y"), ElementsAre(1, 2, 3));
}

TEST_F(PipelineFaults, AttemptsAreCountedOnAfterAnExecutionThatWasCancelledBeforeTheStep) {
    bench.add_breakable("breakable");
    const Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b", "breakable")}};
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    std::stop_source cancel;
    cancel.request_stop();
    bench.context.stop = cancel.get_token();
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kInterrupted);
    bench.context.stop = {};
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    EXPECT_THAT(bench.journal.attempts("b"), ElementsAre(1, 2));
}

// ---- the executor of a run ----

TEST(Heartbeat, MayBeALittleAheadButNotFarInTheFuture) {
    const Timestamp now = Runtime().with_defaults().clock->now();
    const auto seen = [&](std::chrono::seconds ahead) {
        return is_alive({.lease = {.owner = "elsewhere", .epoch = 1}, .heartbeat_at = now + ahead}, now,
                        std::chrono::seconds(10));
    };
    EXPECT_TRUE(seen(std::chrono::seconds(-9)));
    EXPECT_TRUE(seen(std::chrono::seconds(9)));
    EXPECT_FALSE(seen(std::chrono::seconds(-11)));
    EXPECT_FALSE(seen(std::chrono::hours(1'000)));
}

// Looks at heartbeats that are far older and far newer than the allowed silence. That happens after a locked store, on
// a suspended machine, or when a clock is set.
bool counts_as_alive(const std::string& owner) {
    const Timestamp now = Runtime().with_defaults().clock->now();
    const auto seen = [&](std::chrono::hours ago) {
        return is_alive({.lease = {.owner = owner, .epoch = 1}, .heartbeat_at = now - ago}, now,
                        std::chrono::seconds(60));
    };
    EXPECT_EQ(seen(std::chrono::hours(1)), seen(std::chrono::hours(-1)));
    return seen(std::chrono::hours(1));
}

TEST(Heartbeat, IsNotAskedForWhereTheProcessCanBe) {
    const TempDir folder;
    ChildProcess child([&](const Channel& channel) {
        Runtime runtime = Runtime().with_defaults();
        const ExecutorIdentity identity(runtime);
        std::ofstream(folder / "owner") << identity.owner();
        channel.say(1);
        channel.hear();
        return 0;
    });
    ASSERT_TRUE(child.channel().hear());
    std::string owner;
    std::ifstream(folder / "owner") >> owner;
    EXPECT_TRUE(counts_as_alive(owner)) << owner;
    ASSERT_EQ(::kill(child.pid(), SIGSTOP), 0);
    EXPECT_TRUE(counts_as_alive(owner)) << "stopped, but there";
    ASSERT_EQ(::kill(child.pid(), SIGKILL), 0);
    siginfo_t ended{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &ended, WEXITED | WNOWAIT), 0);
    EXPECT_FALSE(counts_as_alive(owner)) << "a zombie";
    child.wait();
    EXPECT_FALSE(counts_as_alive(owner));
}

TEST(Heartbeat, OfThisProcessCountsAsLongAsTheExecutionLasts) {
    Runtime runtime = Runtime().with_defaults();
    std::optional<ExecutorIdentity> identity(runtime);
    const std::string owner = identity->owner();
    EXPECT_TRUE(counts_as_alive(owner));
    identity.reset();
    EXPECT_FALSE(counts_as_alive(owner));
}

// The lease is still there, and its process is alive.
TEST_F(PipelineFaults, ARunWhoseLeaseCouldNotBeGivenUpGoesOnInTheSameProcess) {
    bench.add("breaks the store", [&](const State& state, const AgentCall&) -> Result<State> {
        bench.store->inject({.code = ErrorCode::kUnavailable, .for_good = true});
        return state;
    });
    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b", "breaks the store")}};
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kInterrupted);
    bench.store->heal();
    ASSERT_NE(bench.store->lease("run", soon()).value()->lease.owner, "");
    bench.store->heal();
    bench.context.accept_changes = true;
    pipeline.stages[1].steps[0].agent = "note";
    bench.complete(pipeline);
}

TEST_F(PipelineFaults, AConflictThatIsNotAboutTheLeaseIsAFailedSave) {
    bench.add("disturbs", [&](const State& state, const AgentCall& call) -> Result<State> {
        bench.store->inject({.code = ErrorCode::kConflict, .for_good = true});
        return with_member(state, call.step, true);
    });
    bench.options.config.timeout = std::chrono::milliseconds(50);
    const Pipeline pipeline{.name = "p", .stages = {alone("a", "disturbs"), alone("b")}};
    const auto result = bench.execute(pipeline);
    bench.store->heal();
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, PipelineStatus::kInterrupted);
    EXPECT_THAT(result->error->message, testing::Not(HasSubstr("taken over")));
    EXPECT_EQ(result->state.text(), R"({"question":"why","a":true})");
    EXPECT_FALSE(result->is_saved);
}

// ---- threads ----

TEST_F(PipelineFaults, AThreadThatCannotBeHadIsAnErrorAndNoFinishedStepIsLost) {
    if (!CAIRN_TEST_HAS_OWN_THREADS) GTEST_SKIP() << "a sanitizer makes the threads";
    Pipeline pipeline{.name = "p", .stages = {alone("a"), together({"x", "y", "z"}), alone("b")}};
    pipeline.stages[2].steps[0].timeout = std::chrono::hours(1);
    bool has_failed = true;
    int nth = 1;
    for (; has_failed; ++nth) {
        SCOPED_TRACE(testing::Message() << "thread " << nth);
        bench.store = std::make_shared<FaultyStore>(make_memory_store());
        bench.journal.clear();
        threads_until_failure = nth;
        const auto disturbed = bench.execute(pipeline, "run");
        has_failed = threads_until_failure.exchange(std::numeric_limits<int>::max()) <= 0;
        const auto& error = disturbed ? disturbed->error : std::optional(disturbed.error());
        EXPECT_EQ(error.has_value(), has_failed);
        if (error) {
            EXPECT_EQ(error->code, ErrorCode::kUnavailable) << error->to_string();
        }
        EXPECT_EQ(bench.complete(pipeline).state.text(),
                  R"({"question":"why","a":true,"x":true,"y":true,"z":true,"b":true})");
        for (const char* step : {"a", "x", "y", "z", "b"}) EXPECT_THAT(bench.journal.attempts(step), SizeIs(1));
    }
    EXPECT_EQ(nth,
              6);  // the heartbeat's thread and three steps'; the timers' thread exists since the first try
}

TEST_F(PipelineFaults, WithoutAThreadForTimersAStepWithATimeoutIsAnError) {
    if (!CAIRN_TEST_HAS_OWN_THREADS) GTEST_SKIP() << "a sanitizer makes the threads";
    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b")}};
    pipeline.stages[1].steps[0].timeout = std::chrono::hours(1);
    threads_until_failure = 2;  // the heartbeat takes the first
    const auto disturbed = bench.execute(pipeline, "run");
    const bool was_asked_for = threads_until_failure.exchange(std::numeric_limits<int>::max()) <= 0;
    if (!was_asked_for) GTEST_SKIP() << "an earlier test of this process has started it";
    ASSERT_TRUE(disturbed && disturbed->error);
    EXPECT_EQ(disturbed->error->code, ErrorCode::kUnavailable) << disturbed->error->to_string();
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","a":true,"b":true})");
    EXPECT_THAT(bench.journal.attempts("a"), SizeIs(1));
}

// Asynchronous saves have a thread, which starts with the first of them.
TEST(OptimisedFaults, WithoutAThreadAnAsynchronousSaveIsCommittedByItsCaller) {
    if (!CAIRN_TEST_HAS_OWN_THREADS) GTEST_SKIP() << "a sanitizer makes the threads";
    const auto store = std::make_shared<FaultyStore>(make_memory_store());
    OptimizedStatePersistence service(store);
    threads_until_failure = 1;
    std::future<Result<Receipt>> without = service.save_async(make_request("run", R"({"step":1})"));
    EXPECT_LE(threads_until_failure.exchange(std::numeric_limits<int>::max()), 0) << "it was not asked for";
    const auto receipt = without.get();
    EXPECT_TRUE(receipt) << receipt.error().to_string();
    EXPECT_EQ(store->head("run", soon()).value().value().version, 1);
    EXPECT_EQ(service.save_async(make_request("run", R"({"step":2})")).get().value().version, 2);
}

// ---- deletions between two executions ----

TEST_F(PipelineFaults, AGroupGoesOnWithoutItsDeletedBaseAndRunsAgainWhatWasDeletedOfIt) {
    bench.add_breakable("breakable");
    Pipeline pipeline{.name = "p", .stages = {alone("a"), together({"x", "y", "z"})}};
    pipeline.stages[1].steps[1].agent = "breakable";
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    const RunProgress saved = progress();
    ASSERT_THAT(saved.group_finished, SizeIs(2));
    for (const SnapshotInfo& info : bench.history()) {
        if (info.snapshot_id == saved.group_base || info.snapshot_id == saved.group_finished.at("x")) {
            ASSERT_TRUE(prune(info)) << info.snapshot_id;
        }
    }
    bench.is_broken = false;
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","a":true,"x":true,"y":true,"z":true})");
    EXPECT_THAT(bench.journal.attempts("a"), SizeIs(1));
    EXPECT_THAT(bench.journal.attempts("x"), SizeIs(2));
    EXPECT_THAT(bench.journal.attempts("z"), SizeIs(1));
}

// ---- metadata that somebody else wrote ----

// A run's metadata may name any of its snapshots as those of the group under way.
TEST_F(PipelineFaults, AGroupWhoseBaseOrResultIsAnOpaqueStateIsNotGoneOnWith) {
    bench.add_breakable("breakable");
    Pipeline pipeline{.name = "p", .stages = {alone("a"), together({"x", "y", "z"})}};
    pipeline.stages[1].steps[1].agent = "breakable";
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    const RunProgress saved = progress();
    bench.is_broken = false;

    StatePersistenceService service(bench.store);
    const SnapshotInfo head = bench.history().back();
    const auto save = [&](State state, std::optional<State> metadata) {
        return service
            .save_agent_state({.run_id = "run",
                               .thread_id = head.thread_id,
                               .user_id = head.user_id,
                               .state_data = std::move(state),
                               .metadata = std::move(metadata)})
            .value()
            .snapshot_id;
    };
    const std::string opaque_id = save(State::opaque("msgpack", std::string("\xff\xfe")).value(), std::nullopt);
    for (const bool is_base : {true, false}) {
        RunProgress forged = saved;
        (is_base ? forged.group_base : forged.group_finished.at("x")) = opaque_id;
        const std::string forged_id = save(State::parse(R"({"question":"why"})").value(), forged.to_metadata());
        const auto result = bench.execute(pipeline);
        ASSERT_FALSE(result) << (is_base ? "base" : "result");
        EXPECT_EQ(result.error().code, ErrorCode::kInvalidState);
        EXPECT_THAT(result.error().message, HasSubstr("snapshot " + opaque_id + " is an opaque state of type"));
        EXPECT_EQ(bench.history().back().snapshot_id, forged_id) << "nothing was saved";
    }
}

}  // namespace
}  // namespace cairn::test
