// Goal: a pipeline runs the right steps in the right order, saves what it should when it should, and goes on at the
// right place.
// Method: agents are lambdas, and the store is in memory. Here a "crash" is a failure or a cancellation;
// tests/fault/pipeline_kill_test.cpp kills processes.

#include "support/pipeline_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <future>
#include <latch>
#include <stdexcept>
#include <thread>

namespace cairn::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class PipelineTest : public testing::Test {
protected:
    PipelineBench bench;
};

std::string error_of(const Result<PipelineResult>& result) {
    return result ? "(no error)" : result.error().to_string();
}

// ---- steps ----

TEST_F(PipelineTest, StepsRunInOrderEachOnTheStateOfTheOneBefore) {
    const PipelineResult result = bench.complete({.name = "p", .stages = {alone("a"), alone("b"), alone("c")}});
    EXPECT_EQ(result.state.text(), R"({"question":"why","a":true,"b":true,"c":true})");
    EXPECT_THAT(bench.journal.order(), ElementsAre("a", "b", "c"));
    EXPECT_TRUE(result.is_saved);
    EXPECT_FALSE(result.is_resumed);
    ASSERT_THAT(result.steps, SizeIs(3));
    for (const StepResult& step : result.steps) {
        EXPECT_EQ(step.outcome, StepOutcome::kCompleted);
        EXPECT_EQ(step.attempt, 1);
        EXPECT_TRUE(step.is_saved);
    }
    const auto loaded = bench.executor()->state_persistence().load_agent_state({.run_id = "run"});
    EXPECT_EQ(loaded->state.text(), result.state.text());
    EXPECT_EQ(loaded->info.snapshot_id, result.snapshot_id);
}

TEST_F(PipelineTest, EveryStepIsSavedWithWhatItWas) {
    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b"), alone("c"), alone("d")}};
    pipeline.stages[0].steps[0].phase = AgentPhase::kTriage;
    pipeline.stages[2].steps[0].phase = AgentPhase::kReporting;
    const PipelineResult result = bench.complete(pipeline);
    EXPECT_EQ(result.saves, 5U);
    EXPECT_THAT(bench.types(),
                ElementsAre("auto", "intermediate", "phase_transition", "intermediate", "pipeline_complete"));
    const auto history = bench.history();
    EXPECT_EQ(history[0].agent_phase, AgentPhase::kTriage);
    EXPECT_EQ(history[2].agent_phase, AgentPhase::kReporting);
    EXPECT_THAT(history[1].metadata, HasSubstr(R"("status":"running","steps_completed":1,"steps_total":4,"step":"a")"));
    EXPECT_THAT(history[4].metadata, HasSubstr(R"("status":"completed","steps_completed":4)"));
}

TEST_F(PipelineTest, ThePhaseMovesOnAlsoWhereAStepIsSkipped) {
    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b"), alone("c")}};
    pipeline.stages[0].steps[0].phase = AgentPhase::kTriage;
    pipeline.stages[1].steps[0].when.members = {{.pointer = "/nothing"}};
    pipeline.stages[2].steps[0].phase = AgentPhase::kReporting;
    bench.complete(pipeline);
    const auto history = bench.history();
    ASSERT_THAT(bench.types(), ElementsAre("auto", "intermediate", "phase_transition", "pipeline_complete"));
    EXPECT_EQ(history[1].agent_phase, AgentPhase::kTriage);
    EXPECT_EQ(history[2].agent_phase, AgentPhase::kReporting);
    EXPECT_THAT(history[2].metadata, HasSubstr(R"("steps_completed":2,"steps_total":3,"step":"b")"));
}

TEST_F(PipelineTest, EveryEventSaysHowManyStepsAreCompleted) {
    const auto recorder = std::make_shared<EventRecorder>();
    bench.add("talks", [](const State& state, const AgentCall& call) -> Result<State> {
        call.progress("half way");
        return state;
    });
    ASSERT_TRUE(bench.executor(recorder)->execute_pipeline({.name = "p", .stages = {alone("a"), alone("b", "talks")}},
                                                           bench.input, "run", bench.context));
    std::vector<std::pair<std::string, std::size_t>> steps;
    for (const PipelineEvent& event : recorder->events())
        steps.emplace_back(to_string(event.type), event.steps_completed);
    EXPECT_THAT(steps, ElementsAre(Pair("started", 0), Pair("checkpoint", 0), Pair("step_started", 0),
                                   Pair("step_completed", 1), Pair("checkpoint", 1), Pair("step_started", 1),
                                   Pair("step_progress", 1), Pair("step_completed", 2), Pair("checkpoint", 2),
                                   Pair("completed", 2)));
}

TEST_F(PipelineTest, ACheckpointSaysItsPhase) {
    const auto recorder = std::make_shared<EventRecorder>();
    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b")}};
    pipeline.stages[1].steps[0].phase = AgentPhase::kReporting;
    ASSERT_TRUE(bench.executor(recorder)->execute_pipeline(pipeline, bench.input, "run", bench.context));
    std::vector<std::string> phases;
    for (const PipelineEvent& event : recorder->events()) {
        if (event.type == PipelineEvent::Type::kCheckpoint) phases.push_back(event.agent_phase.name());
    }
    const auto history = bench.store->history({.run_id = "run", .order = HistoryQuery::Order::kOldestFirst}, soon());
    std::vector<std::string> stored;
    for (const SnapshotInfo& info : history.value()) stored.push_back(info.agent_phase.name());
    EXPECT_EQ(phases, stored);
    EXPECT_EQ(phases.back(), "reporting");
}

TEST_F(PipelineTest, TheFlagChoosesTheService) {
    EXPECT_NE(dynamic_cast<OptimizedStatePersistence*>(&bench.executor()->state_persistence()), nullptr);
    bench.options.config.enable_optimized_persistence = false;
    EXPECT_NE(dynamic_cast<StatePersistenceService*>(&bench.executor()->state_persistence()), nullptr);
    EXPECT_EQ(bench.complete({.name = "p", .stages = {alone("a"), together({"b", "c"})}}).state.text(),
              R"({"question":"why","a":true,"b":true,"c":true})");
}

TEST_F(PipelineTest, AnAgentIsToldWhatItWorksFor) {
    AgentCall seen;
    bench.add("look", [&](const State& state, const AgentCall& call) -> Result<State> {
        seen = call;
        call.progress("half way");
        return state;
    });
    Pipeline pipeline{.name = "p", .stages = {alone("a", "look")}};
    pipeline.stages[0].steps[0].with = State::parse(R"({"depth":2})").value();
    const auto recorder = std::make_shared<EventRecorder>();
    ASSERT_TRUE(bench.executor(recorder)->execute_pipeline(pipeline, bench.input, "run", bench.context));
    EXPECT_EQ(seen.run_id + seen.thread_id + seen.user_id + seen.pipeline + seen.step, "runthreaduserpa");
    EXPECT_EQ(seen.with.text(), R"({"depth":2})");
    EXPECT_EQ(seen.attempt, 1);
    EXPECT_THAT(recorder->summary(),
                ElementsAre("started", "checkpoint auto", "step_started a", "step_progress a", "step_completed a",
                            "checkpoint pipeline_complete", "completed completed"));
    std::uint64_t sequence = 0;
    const std::vector<PipelineEvent> events = recorder->events();
    for (const PipelineEvent& event : events) {
        EXPECT_EQ(event.sequence, ++sequence);
        EXPECT_EQ(event.run_id + event.thread_id + event.user_id, "runthreaduser");
        EXPECT_EQ(event.steps_total, 1U);
        EXPECT_EQ(event.receipt.has_value(), event.type == PipelineEvent::Type::kCheckpoint);
    }
}

TEST_F(PipelineTest, ContextWithoutOwnersAndUnknownAgentsAreRefusedBeforeAnythingRuns) {
    const Pipeline pipeline{.name = "p", .stages = {alone("a")}};
    bench.context.thread_id.clear();
    EXPECT_THAT(error_of(bench.execute(pipeline)), HasSubstr("context.thread_id"));
    bench.context = {.thread_id = "thread"};
    EXPECT_THAT(error_of(bench.execute(pipeline)), HasSubstr("context.user_id"));
    bench.context.user_id = "user";
    EXPECT_THAT(error_of(bench.execute(pipeline, "")), HasSubstr("run_id"));
    EXPECT_THAT(error_of(bench.execute({.name = "p", .stages = {alone("a", "nobody")}})), HasSubstr("nobody"));
    EXPECT_THAT(bench.journal.order(), IsEmpty());
    EXPECT_FALSE(bench.store->lease("run", soon()).value().has_value());
}

TEST_F(PipelineTest, AnExceptionOfAnAgentIsItsStepsFailure) {
    bench.add("throw", [](const State&, const AgentCall&) -> Result<State> { throw std::runtime_error("oh"); });
    bench.add("throw int", [](const State&, const AgentCall&) -> Result<State> { throw 7; });
    for (const std::string agent : {"throw", "throw int"}) {
        const auto result = bench.execute({.name = "p", .stages = {alone("a", agent)}}, agent);
        ASSERT_TRUE(result);
        EXPECT_EQ(result->status, PipelineStatus::kFailed);
        EXPECT_EQ(result->error->code, ErrorCode::kInternal);
        EXPECT_THAT(result->error->message, HasSubstr("step \"a\""));
    }
}

TEST_F(PipelineTest, AFailingStepIsTriedAgainWithTheNextNumber) {
    bench.add("third time", [](const State& state, const AgentCall& call) -> Result<State> {
        if (call.attempt < 3) return fail(ErrorCode::kUnavailable, "not yet");
        return state;
    });
    Pipeline pipeline{.name = "p", .stages = {alone("a", "third time")}};
    pipeline.stages[0].steps[0].retry = {.attempts_max = 3, .backoff = std::chrono::milliseconds(1)};
    EXPECT_EQ(bench.complete(pipeline).steps[0].attempt, 3);
    EXPECT_THAT(bench.journal.attempts("a"), ElementsAre(1, 2, 3));
}

TEST_F(PipelineTest, AStepWhoseTimeIsUpIsAskedToStop) {
    bench.add("sleep", [](const State&, const AgentCall& call) -> Result<State> {
        while (!call.stop.stop_requested()) std::this_thread::yield();
        return fail(ErrorCode::kUnavailable, "asked to stop");
    });
    Pipeline pipeline{.name = "p", .stages = {alone("a", "sleep")}};
    pipeline.stages[0].steps[0].timeout = std::chrono::milliseconds(5);
    const auto result = bench.execute(pipeline);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, PipelineStatus::kFailed);
    EXPECT_THAT(result->error->message, HasSubstr("its time of 5 ms was up"));
}

TEST_F(PipelineTest, AStepWhoseConditionDoesNotHoldIsSkippedAndOthersMayAskForThat) {
    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b"), alone("c"), alone("d")}};
    pipeline.stages[1].steps[0].when.members = {
        {.pointer = "/question", .test = Condition::Test::kEquals, .values = {"\"how\""}}};
    pipeline.stages[2].steps[0].when.steps = {{.name = "b", .outcome = StepOutcome::kSkipped}};
    pipeline.stages[3].steps[0].when.steps = {{.name = "b", .outcome = StepOutcome::kCompleted}};
    const PipelineResult result = bench.complete(pipeline);
    EXPECT_THAT(bench.journal.order(), ElementsAre("a", "c"));
    EXPECT_EQ(result.steps[1].outcome, StepOutcome::kSkipped);
    EXPECT_EQ(result.steps[3].outcome, StepOutcome::kSkipped);
    EXPECT_THAT(bench.history().back().metadata, HasSubstr(R"("skipped":["b","d"])"));
    EXPECT_EQ(bench.status().steps_completed, 4U);
}

TEST_F(PipelineTest, AStepThatMayFailIsGoneWithout) {
    bench.add_breakable("breakable");
    Pipeline pipeline{.name = "p", .stages = {alone("a", "breakable"), alone("b")}};
    pipeline.stages[0].steps[0].may_fail = true;
    const PipelineResult result = bench.complete(pipeline);
    EXPECT_EQ(result.steps[0].outcome, StepOutcome::kFailed);
    EXPECT_EQ(result.state.text(), R"({"question":"why","b":true})");
}

// ---- groups ----

TEST_F(PipelineTest, StepsOfAGroupRunAtTheSameTimeOnCopiesAndAreMergedInStepOrder) {
    std::latch all_are_there(3);
    bench.add("meet", [&](const State& state, const AgentCall& call) -> Result<State> {
        all_are_there.arrive_and_wait();
        EXPECT_EQ(state.text(), R"({"question":"why","a":true})");
        return with_member(state, call.step, call.step);
    });
    const PipelineResult result =
        bench.complete({.name = "p", .stages = {alone("a"), together({"x", "y", "z"}, "meet"), alone("b")}});
    EXPECT_EQ(result.state.text(), R"({"question":"why","a":true,"x":"x","y":"y","z":"z","b":true})");
    EXPECT_EQ(result.steps.size(), 5U);
    EXPECT_EQ(bench.status().steps_completed, 5U);
}

TEST_F(PipelineTest, TheMergedStateGrowsFromWhatTheGroupStartedFrom) {
    bench.complete({.name = "p", .stages = {alone("a"), together({"x", "y"}), alone("b")}});
    const auto history = bench.history();  // input, a, x or y, merged, b
    ASSERT_THAT(history, SizeIs(5));
    EXPECT_EQ(history[2].parent_version, 2);
    EXPECT_EQ(history[3].parent_version, 2);
    EXPECT_EQ(history[4].parent_version, 4);
}

class GroupConflict : public PipelineTest {
protected:
    GroupConflict() {
        bench.add("claim", [](const State& state, const AgentCall& call) -> Result<State> {
            return with_member(state, "owner", nlohmann::ordered_json::array({call.step}));
        });
        pipeline = {.name = "p", .stages = {together({"x", "y"}, "claim")}};
    }
    Pipeline pipeline;
};

TEST_F(GroupConflict, FailsTheRunAndNamesTheMemberAndTheSteps) {
    const auto result = bench.execute(pipeline);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, PipelineStatus::kFailed);
    EXPECT_EQ(result->error->code, ErrorCode::kConflict);
    EXPECT_THAT(result->error->message, HasSubstr("owner"));
    EXPECT_EQ(result->state.text(), bench.input.text());
}

TEST_F(GroupConflict, IsWonByTheLastStepIfThatIsThePolicy) {
    pipeline.stages[0].on_conflict = MergePolicy::kLast;
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","owner":["y"]})");
}

TEST_F(GroupConflict, IsDecidedByANamedMerger) {
    ASSERT_TRUE(
        bench.engine->add_merger("first", [](const MemberConflict& conflict) -> Result<std::optional<std::string>> {
            EXPECT_THAT(conflict.steps, ElementsAre("x", "y"));
            return conflict.candidates.front();
        }));
    pipeline.stages[0].on_conflict = MergePolicy::kMerger;
    pipeline.stages[0].merger = "first";
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","owner":["x"]})");
    pipeline.stages[0].merger = "append";
    EXPECT_EQ(bench.complete(pipeline, "other").state.text(), R"({"question":"why","owner":["x","y"]})");
}

TEST_F(GroupConflict, IsLeftForLaterWhenTheRunIsCancelledMeanwhile) {
    std::stop_source cancel;
    bench.add("claim more", [](const State& state, const AgentCall& call) -> Result<State> {
        return with_member(with_member(state, "owner", call.step), "second", call.step);
    });
    ASSERT_TRUE(
        bench.engine->add_merger("slow", [&](const MemberConflict& conflict) -> Result<std::optional<std::string>> {
            cancel.request_stop();
            return conflict.candidates.front();
        }));
    pipeline = {.name = "p", .stages = {together({"x", "y"}, "claim more")}};
    pipeline.stages[0].on_conflict = MergePolicy::kMerger;
    pipeline.stages[0].merger = "slow";
    bench.context.stop = cancel.get_token();
    const auto result = bench.execute(pipeline);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, PipelineStatus::kInterrupted);
    EXPECT_EQ(result->error->code, ErrorCode::kUnavailable);
    bench.context.stop = {};
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","owner":"x","second":"x"})");
    EXPECT_THAT(bench.journal.order(), UnorderedElementsAre("x", "y"));
}

TEST_F(GroupConflict, IsSettledByAChangedPipelineWithoutRunningAStepAgain) {
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    pipeline.stages[0].on_conflict = MergePolicy::kLast;
    bench.context.accept_changes = true;
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","owner":["y"]})");
    EXPECT_THAT(bench.journal.order(), UnorderedElementsAre("x", "y"));
}

TEST_F(PipelineTest, FinishedStepsOfAGroupThatFailedDoNotRunAgain) {
    for (const Durability durability : {Durability::kSync, Durability::kAsync, Durability::kExit}) {
        const std::string run(to_string(durability));
        bench.options.config.durability = durability;
        bench.is_broken = true;
        bench.journal.clear();
        const std::string agent = "breakable " + run;
        bench.add_breakable(agent);
        Pipeline pipeline{.name = "p", .stages = {alone("a"), together({"x", "y", "z"}), alone("b")}};
        pipeline.stages[1].steps[1].agent = agent;
        const auto failed = bench.execute(pipeline, run);
        ASSERT_TRUE(failed);
        EXPECT_EQ(failed->status, PipelineStatus::kFailed);
        EXPECT_TRUE(failed->is_saved);
        EXPECT_EQ(failed->state.text(), R"({"question":"why","a":true})");
        bench.is_broken = false;
        EXPECT_EQ(bench.complete(pipeline, run).state.text(),
                  R"({"question":"why","a":true,"x":true,"y":true,"z":true,"b":true})");
        EXPECT_THAT(bench.journal.order(), UnorderedElementsAre("a", "x", "y", "z", "y", "b")) << run;
        EXPECT_THAT(bench.journal.attempts("y"), ElementsAre(1, 2)) << run;
    }
}

TEST_F(PipelineTest, NoMoreStepsOfAGroupRunAtOnceThanItAllows) {
    std::atomic<int> running = 0;
    std::atomic<int> most = 0;
    bench.add("count", [&](const State& state, const AgentCall& call) -> Result<State> {
        most = std::max(most.load(), ++running);
        std::this_thread::yield();
        --running;
        return with_member(state, call.step, true);
    });
    Pipeline pipeline{.name = "p", .stages = {together({"u", "v", "w", "x", "y", "z"}, "count")}};
    for (const std::size_t limit : {1U, 2U, 99U}) {
        most = 0;
        bench.journal.clear();
        pipeline.stages[0].at_once_max = limit;
        const PipelineResult result = bench.complete(pipeline, std::to_string(limit));
        EXPECT_EQ(result.state.text(), R"({"question":"why","u":true,"v":true,"w":true,"x":true,"y":true,"z":true})");
        EXPECT_LE(static_cast<std::size_t>(most), limit);
        if (limit == 1) {
            EXPECT_THAT(bench.journal.order(), ElementsAre("u", "v", "w", "x", "y", "z"));
        }
    }
}

// Two steps may run at once. Each waits for the other, so neither would go on alone.
TEST_F(PipelineTest, AsManyStepsOfAGroupRunAtOnceAsItAllows) {
    std::barrier pair(2);
    bench.add("meet", [&](const State& state, const AgentCall& call) -> Result<State> {
        pair.arrive_and_wait();
        return with_member(state, call.step, true);
    });
    Pipeline pipeline{.name = "p", .stages = {together({"w", "x", "y", "z"}, "meet")}};
    pipeline.stages[0].at_once_max = 2;
    bench.complete(pipeline);
}

TEST_F(PipelineTest, AfterAFailureNoFurtherStepOfALimitedGroupBeginsAndAnotherLimitIsNoChange) {
    bench.add_breakable("breakable");
    Pipeline pipeline{.name = "p", .stages = {together({"x", "y", "z"})}};
    pipeline.stages[0].steps[1].agent = "breakable";
    pipeline.stages[0].at_once_max = 1;
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    EXPECT_THAT(bench.journal.order(), ElementsAre("x", "y"));
    bench.is_broken = false;
    pipeline.stages[0].at_once_max = 2;
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","x":true,"y":true,"z":true})");
    EXPECT_THAT(bench.journal.attempts("x"), ElementsAre(1));
    EXPECT_THAT(bench.journal.attempts("z"), SizeIs(1));
}

TEST_F(PipelineTest, ALimitedGroupThatIsCancelledBetweenTwoStepsIsNotCompleted) {
    std::stop_source cancel;
    bench.add("cancels", [&](const State& state, const AgentCall& call) -> Result<State> {
        cancel.request_stop();
        return with_member(state, call.step, true);
    });
    Pipeline pipeline{.name = "p", .stages = {together({"x", "y", "z"})}};
    pipeline.stages[0].steps[0].agent = "cancels";
    pipeline.stages[0].at_once_max = 1;
    bench.context.stop = cancel.get_token();
    const auto result = bench.execute(pipeline);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, PipelineStatus::kInterrupted);
    EXPECT_THAT(bench.journal.order(), ElementsAre("x"));
    bench.context.stop = {};
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","x":true,"y":true,"z":true})");
    EXPECT_THAT(bench.journal.order(), ElementsAre("x", "y", "z"));
}

// ---- resuming ----

TEST_F(PipelineTest, AFailedRunGoesOnWithTheStepThatFailed) {
    bench.add_breakable("breakable");
    const Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b", "breakable"), alone("c")}};
    const auto failed = bench.execute(pipeline);
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->status, PipelineStatus::kFailed);
    EXPECT_TRUE(failed->is_saved);
    EXPECT_EQ(failed->state.text(), R"({"question":"why","a":true})");
    EXPECT_THAT(bench.types(), ElementsAre("auto", "intermediate", "recovery"));
    EXPECT_EQ(bench.status().status, PipelineStatus::kFailed);
    EXPECT_EQ(bench.status().steps_completed, 1U);

    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    bench.is_broken = false;
    bench.input = State::parse(R"({"question":"not looked at"})").value();
    const PipelineResult result = bench.complete(pipeline);
    EXPECT_TRUE(result.is_resumed);
    EXPECT_EQ(result.state.text(), R"({"question":"why","a":true,"b":true,"c":true})");
    EXPECT_THAT(bench.journal.order(), ElementsAre("a", "b", "b", "b", "c"));
    EXPECT_THAT(bench.journal.attempts("b"), ElementsAre(1, 2, 3));
    EXPECT_THAT(bench.journal.attempts("c"), ElementsAre(1));
}

TEST_F(PipelineTest, ACompletedRunReturnsItsStateAndRunsNothing) {
    const Pipeline pipeline{.name = "p", .stages = {alone("a")}};
    const PipelineResult first = bench.complete(pipeline);
    bench.journal.clear();
    const PipelineResult again = bench.complete(pipeline);
    EXPECT_EQ(again.state.text(), first.state.text());
    EXPECT_EQ(again.snapshot_id, first.snapshot_id);
    EXPECT_EQ(again.saves, 0U);
    EXPECT_THAT(bench.journal.order(), IsEmpty());
}

TEST_F(PipelineTest, AChangedPipelineIsRefusedUnlessTheChangesAreAccepted) {
    bench.add_breakable("breakable");
    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b", "breakable")}};
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    bench.is_broken = false;
    pipeline.stages[1].steps[0].with = State::parse(R"({"depth":2})").value();
    pipeline.stages.push_back(alone("c"));
    const auto refused = bench.execute(pipeline);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("after step \"a\""));
    bench.journal.clear();
    bench.context.accept_changes = true;
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","a":true,"b":true,"c":true})");
    EXPECT_THAT(bench.journal.order(), ElementsAre("b", "c"));
}

/// A run that has completed a, x, y and b. The last step of its pipeline, c, has failed.
class ChangedPipeline : public PipelineTest {
protected:
    ChangedPipeline() {
        bench.add_breakable("breakable");
        pipeline.stages[1].steps[1].when.members = {{.pointer = "/nothing"}};
        EXPECT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
        bench.is_broken = false;
        bench.context.accept_changes = true;
        bench.journal.clear();
    }

    void expect_refused(const std::string& words) {
        const auto refused = bench.execute(pipeline);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
        EXPECT_THAT(refused.error().message, HasSubstr(words));
        EXPECT_THAT(bench.journal.order(), IsEmpty());
    }

    Pipeline pipeline{.name = "p", .stages = {alone("a"), together({"x", "y"}), alone("b"), alone("c", "breakable")}};
};

TEST_F(ChangedPipeline, CallsNoStepCompletedThatHasNotRun) {
    const auto original = pipeline;
    pipeline.stages.insert(pipeline.stages.begin() + 1, alone("new"));
    pipeline.stages.back().steps[0].when.steps = {{.name = "new"}};
    expect_refused(R"(step "new": it has not been completed, but stands before step "b")");
    pipeline = original;
    pipeline.stages[1].steps.push_back({.name = "new", .agent = "note"});
    expect_refused(R"(step "new": it has not been completed, but stands before step "b")");
    pipeline = original;
    pipeline.stages[2].steps.push_back({.name = "new", .agent = "note"});
    expect_refused(R"(step "new": it has not been completed, but stands before step "b")");
    pipeline = original;
    pipeline.stages[0].steps[0].name = "renamed";
    expect_refused(R"(step "b": run "run" has completed it, but the steps up to it are not those)");
}

TEST_F(ChangedPipeline, RunsNoCompletedStepAgain) {
    pipeline.stages.push_back(pipeline.stages[0]);
    pipeline.stages.erase(pipeline.stages.begin());
    expect_refused(R"(step "a": it has been completed, but stands behind step "b")");
}

TEST_F(ChangedPipeline, MayPutWhatIsCompletedInAnotherOrderAndAddBehindIt) {
    std::swap(pipeline.stages[0], pipeline.stages[1]);
    pipeline.stages.insert(pipeline.stages.begin() + 3, alone("new"));
    pipeline.stages.back().steps[0].when.steps = {{.name = "y", .outcome = StepOutcome::kSkipped}, {.name = "new"}};
    EXPECT_EQ(bench.complete(pipeline).state.text(),
              R"({"question":"why","a":true,"x":true,"b":true,"new":true,"c":true})");
    EXPECT_THAT(bench.journal.order(), ElementsAre("new", "c"));
}

// A group has not ended, and one of its steps was skipped. The changed pipeline has that step alone, further on, and
// decides about it only then.
TEST_F(PipelineTest, AChangedPipelineForgetsWhatBecameOfAStepThatComesLaterNow) {
    bench.add_breakable("breakable");
    Pipeline pipeline{.name = "p", .stages = {alone("a"), together({"x", "y"})}};
    pipeline.stages[1].steps[0].when.members = {{.pointer = "/nothing"}};
    pipeline.stages[1].steps[1].agent = "breakable";
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    bench.is_broken = false;
    bench.context.accept_changes = true;
    bench.complete({.name = "p", .stages = {alone("a"), alone("y"), alone("x"), alone("z")}});
    EXPECT_THAT(bench.journal.attempts("x"), ElementsAre(1));
    EXPECT_THAT(bench.history().back().metadata, testing::Not(HasSubstr("skipped")));
}

// An early version did not save which steps had ended.
TEST_F(ChangedPipeline, IsRefusedWhereTheRecordDoesNotNameTheSteps) {
    const auto head = bench.history().back();
    auto metadata = nlohmann::ordered_json::parse(head.metadata);
    ASSERT_EQ(metadata.erase("ended"), 1U);
    StatePersistenceRequest request{.run_id = "run", .thread_id = "thread", .user_id = "user"};
    request.state_data = bench.executor()->state_persistence().load_agent_state({.run_id = "run"})->state;
    request.metadata = State::parse(metadata.dump()).value();
    ASSERT_TRUE(bench.executor()->state_persistence().save_agent_state(request));
    const auto original = pipeline;
    pipeline.stages.push_back(alone("new"));
    expect_refused(R"(step "b": run "run" has completed it, but an early version did not note)");
    pipeline = original;
    bench.complete(pipeline);
    EXPECT_THAT(bench.journal.order(), ElementsAre("c"));
}

TEST_F(PipelineTest, ARunThatIsNotThereDoesNotBeginWhereItIsToBeResumed) {
    bench.context.resume_only = true;
    const auto refused = bench.execute({.name = "p", .stages = {alone("a")}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(bench.journal.order(), IsEmpty());
    EXPECT_FALSE(bench.store->lease("run", soon()).value().has_value());
}

TEST_F(PipelineTest, AChangeOfTimesAndRetriesIsNoChange) {
    bench.add_breakable("breakable");
    Pipeline pipeline{.name = "p", .stages = {alone("a", "breakable")}};
    ASSERT_EQ(bench.execute(pipeline)->status, PipelineStatus::kFailed);
    bench.is_broken = false;
    pipeline.stages[0].steps[0].timeout = std::chrono::seconds(60);
    pipeline.stages[0].steps[0].retry.attempts_max = 2;
    bench.complete(pipeline);
}

TEST_F(PipelineTest, APipelineWithoutItsLastCompletedStepCannotBeGoneOnWith) {
    bench.add_breakable("breakable");
    ASSERT_EQ(bench.execute({.name = "p", .stages = {alone("a"), alone("b", "breakable")}})->status,
              PipelineStatus::kFailed);
    bench.context.accept_changes = true;
    EXPECT_THAT(error_of(bench.execute({.name = "p", .stages = {alone("b", "breakable")}})), HasSubstr("\"a\""));
}

TEST_F(PipelineTest, ARunOfOthersOrOfNoPipelineIsRefused) {
    const Pipeline pipeline{.name = "p", .stages = {alone("a")}};
    ASSERT_TRUE(bench.executor()->state_persistence().save_agent_state(make_request("run")));
    bench.context.user_id = "somebody else";
    EXPECT_THAT(error_of(bench.execute(pipeline)), HasSubstr("belongs to another thread or user"));
    const StatePersistenceRequest own = make_request("run");
    bench.context = {.thread_id = own.thread_id, .user_id = own.user_id};
    EXPECT_THAT(error_of(bench.execute(pipeline)), HasSubstr("was not saved by a pipeline"));
    EXPECT_THAT(bench.journal.order(), IsEmpty());
}

TEST_F(PipelineTest, ARunThatWasRolledBackGoesOnFromThere) {
    const Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b"), alone("c")}};
    bench.complete(pipeline);
    const std::string after_a = bench.history()[1].snapshot_id;
    ASSERT_TRUE(bench.executor()->state_persistence().recover_agent_state(
        {.run_id = "run", .recovery_type = RecoveryType::kRollback, .target_snapshot_id = after_a}));
    bench.journal.clear();
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","a":true,"b":true,"c":true})");
    EXPECT_THAT(bench.journal.order(), ElementsAre("b", "c"));
}

TEST_F(PipelineTest, ACancelledRunSavesWhatIsFinishedAndGoesOnLater) {
    std::stop_source cancel;
    bench.add("cancelled", [&](const State& state, const AgentCall& call) -> Result<State> {
        if (call.attempt > 1) return with_member(state, call.step, true);
        cancel.request_stop();
        EXPECT_TRUE(call.stop.stop_requested());
        return fail(ErrorCode::kUnavailable, "asked to stop");
    });
    const Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b", "cancelled"), alone("c")}};
    bench.context.stop = cancel.get_token();
    const auto result = bench.execute(pipeline);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, PipelineStatus::kInterrupted);
    EXPECT_TRUE(result->is_saved);
    EXPECT_EQ(bench.types().back(), "recovery");
    EXPECT_EQ(bench.status().status, PipelineStatus::kInterrupted);
    bench.context.stop = {};
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","a":true,"b":true,"c":true})");
    EXPECT_THAT(bench.journal.attempts("b"), ElementsAre(1, 2));
}

// ---- saving ----

TEST_F(PipelineTest, UnderExitARunIsSavedOnce) {
    bench.options.config.durability = Durability::kExit;
    const PipelineResult result =
        bench.complete({.name = "p", .stages = {alone("a"), together({"x", "y"}), alone("b")}});
    EXPECT_EQ(result.saves, 1U);
    EXPECT_TRUE(result.is_saved);
    EXPECT_THAT(bench.types(), ElementsAre("pipeline_complete"));
    bench.add_breakable("breakable");
    const auto failed = bench.execute({.name = "p", .stages = {alone("a"), alone("b", "breakable")}}, "failed");
    ASSERT_TRUE(failed);
    EXPECT_THAT(bench.types("failed"), ElementsAre("recovery"));
    EXPECT_EQ(failed->state.text(), R"({"question":"why","a":true})");
}

TEST_F(PipelineTest, UnderAsyncTheLastSaveIsOnDiskWhenTheRunEnds) {
    bench.options.config.durability = Durability::kAsync;
    const PipelineResult result =
        bench.complete({.name = "p", .stages = {alone("a"), together({"x", "y"}), alone("b")}});
    EXPECT_TRUE(result.is_saved);
    StatePersistenceService other(bench.store);
    EXPECT_EQ(other.load_agent_state({.run_id = "run"})->state.text(), result.state.text());
}

TEST_F(PipelineTest, AStepsResultIsNotLostWhenItCannotBeSaved) {
    bench.add("break the store", [&](const State& state, const AgentCall& call) -> Result<State> {
        bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
        return with_member(state, call.step, true);
    });
    const Pipeline pipeline{.name = "p", .stages = {alone("a", "break the store"), alone("b")}};
    const auto stopped = bench.execute(pipeline);
    ASSERT_TRUE(stopped);
    EXPECT_EQ(stopped->status, PipelineStatus::kInterrupted);
    EXPECT_EQ(stopped->error->code, ErrorCode::kStorageFull);
    EXPECT_EQ(stopped->state.text(), R"({"question":"why","a":true})");
    EXPECT_FALSE(stopped->is_saved);
    EXPECT_FALSE(stopped->steps[0].is_saved);
    EXPECT_THAT(bench.journal.order(), ElementsAre("a"));

    bench.store->heal();
    bench.options.on_save_failure = OnSaveFailure::kGoOn;
    const auto went_on = bench.execute(pipeline, "other");
    ASSERT_TRUE(went_on);
    EXPECT_EQ(went_on->status, PipelineStatus::kCompleted);
    EXPECT_EQ(went_on->save_error->code, ErrorCode::kStorageFull);
    EXPECT_EQ(went_on->state.text(), R"({"question":"why","a":true,"b":true})");
    EXPECT_FALSE(went_on->is_saved);
}

TEST_F(PipelineTest, TheNextSaveHasTheResultsThatOneHasMissed) {
    bench.add("break the store", [&](const State& state, const AgentCall& call) -> Result<State> {
        bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
        return with_member(state, call.step, true);
    });
    bench.add("mend the store", [&](const State& state, const AgentCall& call) -> Result<State> {
        bench.store->heal();
        return with_member(state, call.step, true);
    });
    bench.options.on_save_failure = OnSaveFailure::kGoOn;
    const PipelineResult result = bench.complete(
        {.name = "p", .stages = {alone("a", "break the store"), alone("b", "mend the store"), alone("c")}});
    EXPECT_TRUE(result.is_saved);
    EXPECT_TRUE(result.save_error.has_value());
    EXPECT_THAT(bench.types(), ElementsAre("auto", "intermediate", "pipeline_complete"));
}

// ---- one executor at a time ----

class TwoExecutors : public PipelineTest {
protected:
    // Begins a run whose executor stops in the step "hold".
    TwoExecutors() {
        bench.add("hold", [this](const State& state, const AgentCall& call) -> Result<State> {
            if (call.attempt > 1) return with_member(state, call.step, "second");
            is_held.count_down();
            may_go.wait();
            return with_member(state, call.step, "first");
        });
        bench.options.heartbeat = std::chrono::milliseconds(60'000);
        first = std::async(std::launch::async, [this] { return bench.execute(pipeline); });
        is_held.wait();
    }
    ~TwoExecutors() override {
        if (first.valid()) may_go.count_down();
    }
    TwoExecutors(const TwoExecutors&) = delete;
    TwoExecutors& operator=(const TwoExecutors&) = delete;

    Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b", "hold"), alone("c")}};
    std::latch is_held{1};
    std::latch may_go{1};
    std::future<Result<PipelineResult>> first;
};

TEST_F(TwoExecutors, ASecondOneIsRefusedAsLongAsTheFirstShowsLife) {
    const auto refused = bench.execute(pipeline);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("is in progress: process "));
    EXPECT_EQ(bench.status().status, PipelineStatus::kRunning);
    may_go.count_down();
    EXPECT_EQ(first.get()->status, PipelineStatus::kCompleted);
}

TEST_F(TwoExecutors, ASecondOneIsRefusedWhateverTheClockSays) {
    for (const std::chrono::hours step : {std::chrono::hours(1), std::chrono::hours(-1)}) {
        bench.options.runtime.clock =
            std::make_shared<StepClock>(std::chrono::milliseconds(1), Runtime().with_defaults().clock->now() + step);
        const auto refused = bench.execute(pipeline);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
        EXPECT_THAT(refused.error().message, HasSubstr("is in progress: process "));
    }
    may_go.count_down();
    EXPECT_EQ(first.get()->status, PipelineStatus::kCompleted);
}

TEST_F(TwoExecutors, OneThatWasSupersededGetsAConflictAtItsNextSaveAndChangesNothing) {
    bench.context.take_over = true;
    const PipelineResult second = bench.complete(pipeline);
    const auto history = bench.history();
    may_go.count_down();
    const auto superseded = first.get();
    ASSERT_TRUE(superseded);
    EXPECT_EQ(superseded->status, PipelineStatus::kInterrupted);
    EXPECT_EQ(superseded->error->code, ErrorCode::kConflict);
    EXPECT_EQ(superseded->state.text(), R"({"question":"why","a":true,"b":"first"})");
    EXPECT_EQ(second.state.text(), R"({"question":"why","a":true,"b":"second","c":true})");
    EXPECT_THAT(bench.history(), SizeIs(history.size()));
    EXPECT_THAT(bench.journal.order(), ElementsAre("a", "b", "b", "c"));
    EXPECT_EQ(bench.status().status, PipelineStatus::kCompleted);
}

TEST_F(PipelineTest, OneThatWasSupersededIsToldByItsHeartbeat) {
    std::latch is_held(1);
    bench.add("hold", [&](const State& state, const AgentCall& call) -> Result<State> {
        if (call.attempt > 1) return state;
        is_held.count_down();
        while (!call.stop.stop_requested()) std::this_thread::yield();
        return fail(ErrorCode::kUnavailable, "asked to stop");
    });
    bench.options.heartbeat = std::chrono::milliseconds(1);
    const Pipeline pipeline{.name = "p", .stages = {alone("a", "hold")}};
    auto first = std::async(std::launch::async, [&] { return bench.execute(pipeline); });
    is_held.wait();
    PipelineBench other;
    PipelineContext context = bench.context;
    context.take_over = true;
    ASSERT_TRUE(bench.executor()->execute_pipeline(pipeline, bench.input, "run", context));
    const auto superseded = first.get();
    EXPECT_EQ(superseded->status, PipelineStatus::kInterrupted);
    EXPECT_EQ(superseded->error->code, ErrorCode::kConflict);
}

// Only a snapshot says who owns a run, so this run may be another user's.
TEST_F(PipelineTest, ARunThatHasSavedNothingYetIsTakenOverByNobody) {
    const LeaseInfo held{.lease = {.owner = "elsewhere", .epoch = 3},
                         .heartbeat_at = Runtime().with_defaults().clock->now()};
    const LeaseWrite taken{.lease = held.lease, .heartbeat_at = held.heartbeat_at};
    ASSERT_TRUE(commit_run(*bench.store, {.run_id = "run", .lease = taken}, soon()));
    bench.context.take_over = true;
    const auto refused = bench.execute({.name = "p", .stages = {alone("a")}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().next_step(), HasSubstr("once it has saved something"));
    EXPECT_EQ(bench.store->lease("run", soon()).value()->lease, held.lease);
}

TEST_F(PipelineTest, AnExecutorThatIsSilentForTooLongCountsAsDead) {
    const Lease silent{.owner = "elsewhere", .epoch = 3};
    const Timestamp now = Runtime().with_defaults().clock->now();
    const auto hold = [&](std::string run_id, Timestamp heartbeat_at) {
        const LeaseWrite taken{.lease = silent, .heartbeat_at = heartbeat_at};
        return commit_run(*bench.store, {.run_id = std::move(run_id), .lease = taken}, soon()).has_value();
    };
    const Pipeline pipeline{.name = "p", .stages = {alone("a")}};
    ASSERT_TRUE(hold("run", now - std::chrono::seconds(61)));
    bench.complete(pipeline);
    EXPECT_EQ(bench.store->lease("run", soon()).value()->lease, (Lease{.owner = "", .epoch = 4}));
    // An executor may have waited for a locked store for 30 s and more, and its clock may be behind.
    ASSERT_TRUE(hold("fresh", now - std::chrono::seconds(55)));
    const auto refused = bench.execute(pipeline, "fresh");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message, HasSubstr("is in progress: "));
}

TEST_F(PipelineTest, TheLeaseIsGivenUpHoweverARunEnds) {
    bench.add_breakable("breakable");
    ASSERT_TRUE(bench.execute({.name = "p", .stages = {alone("a", "breakable")}}));
    EXPECT_EQ(bench.store->lease("run", soon()).value()->lease.owner, "");
    bench.complete({.name = "p", .stages = {alone("a")}}, "other");
    EXPECT_EQ(bench.store->lease("other", soon()).value()->lease.owner, "");
}

TEST_F(PipelineTest, ManyRunsOfOneExecutorDoNotDisturbEachOther) {
    const auto executor = bench.executor();
    const Pipeline pipeline{.name = "p", .stages = {alone("a"), together({"x", "y"}), alone("b")}};
    std::vector<std::future<Result<PipelineResult>>> runs;
    for (int i = 0; i < 8; ++i) {
        runs.push_back(std::async(std::launch::async, [&, i] {
            return executor->execute_pipeline(pipeline, bench.input, std::to_string(i), bench.context);
        }));
    }
    for (auto& run : runs) {
        EXPECT_EQ(run.get()->state.text(), R"({"question":"why","a":true,"x":true,"y":true,"b":true})");
    }
}

}  // namespace
}  // namespace cairn::test
