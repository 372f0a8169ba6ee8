// Goal: a run pauses where a person must approve, and no later step runs before the approval. Exactly one decision
// counts, even if others decide, resume, delete or change the run meanwhile.
// Method: pipelines of lambdas over a memory store. Every execution has its own executor, as another process would
// have. tests/fault/pipeline_kill_test.cpp kills processes.

#include "pipeline/run/run_progress.h"
#include "support/pipeline_bench.h"

#include <cairn/retention.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Stage approval(std::string step) {
    return {.steps = {{.name = std::move(step), .agent = {}, .needs_approval = true}}};
}

class ApprovalTest : public testing::Test {
protected:
    PipelineResult paused() {
        Result<PipelineResult> result = bench.execute(pipeline);
        if (!result) {
            ADD_FAILURE() << result.error().to_string();
            return {};
        }
        EXPECT_EQ(result->status, PipelineStatus::kPaused);
        EXPECT_FALSE(result->error.has_value());
        EXPECT_TRUE(result->is_saved);
        EXPECT_EQ(result->waiting_for, "ok");
        return std::move(*result);
    }
    Result<Receipt> decide(bool is_approved, const std::string& by = "ann") {
        return decide_approval(bench.executor()->state_persistence(),
                               {.run_id = "run", .step = "ok", .by = by, .is_approved = is_approved});
    }
    // Approves the step, and changes the state.
    void approve_with_a_tone() {
        ASSERT_TRUE(decide_approval(bench.executor()->state_persistence(),
                                    {.run_id = "run", .step = "ok", .by = "ann", .change = [](const State& state) {
                                         return Result<State>(with_member(state, "tone", "formal"));
                                     }}));
    }
    void expect_refused(const Result<Receipt>& decision, ErrorCode code, const std::string& words) {
        ASSERT_FALSE(decision);
        EXPECT_EQ(decision.error().code, code) << decision.error().to_string();
        EXPECT_THAT(decision.error().message, HasSubstr(words));
    }

    PipelineBench bench;
    Pipeline pipeline{.name = "p", .stages = {alone("a"), approval("ok"), alone("b")}};
};

TEST_F(ApprovalTest, ARunPausesUntilItIsApprovedAndThenGoesOn) {
    EXPECT_EQ(paused().state.text(), R"({"question":"why","a":true})");
    EXPECT_EQ(bench.status().status, PipelineStatus::kPaused);
    EXPECT_EQ(bench.status().waiting_for, "ok");
    EXPECT_EQ(bench.status().steps_completed, 1U);
    EXPECT_EQ(bench.store->lease("run", soon()).value()->lease.owner, "");

    const auto decision = decide(true);
    ASSERT_TRUE(decision) << decision.error().to_string();
    EXPECT_EQ(decision->durability, Durability::kSync);
    EXPECT_EQ(bench.status().status, PipelineStatus::kApproved);
    EXPECT_EQ(bench.types().back(), "manual");
    EXPECT_THAT(bench.history().back().metadata,
                HasSubstr(R"("approval":{"step":"ok","decision":"approved","by":"ann"})"));

    const PipelineResult done = bench.complete(pipeline);
    EXPECT_EQ(done.state.text(), R"({"question":"why","a":true,"b":true})");
    EXPECT_EQ(done.steps[1].outcome, StepOutcome::kCompleted);
    EXPECT_THAT(bench.journal.order(), ElementsAre("a", "b"));
    EXPECT_THAT(bench.journal.attempts("b"), ElementsAre(1));
    EXPECT_EQ(bench.status().steps_completed, 3U);
    EXPECT_THAT(bench.history().back().metadata, testing::Not(HasSubstr("approval")));
}

TEST_F(ApprovalTest, ExecutingAPausedRunAgainChangesNothing) {
    const PipelineResult first = paused();
    const PipelineResult again = paused();
    EXPECT_EQ(again.snapshot_id, first.snapshot_id);
    EXPECT_EQ(again.saves, 0U);
    EXPECT_THAT(bench.journal.order(), ElementsAre("a"));
}

TEST_F(ApprovalTest, AnApproverMayChangeTheState) {
    paused();
    approve_with_a_tone();
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","a":true,"tone":"formal","b":true})");
}

// The condition held when the run paused. A change that the person makes does not undo the question.
TEST_F(ApprovalTest, AConditionIsNotAskedAgainAfterTheDecision) {
    pipeline.stages[1].steps[0].when.members = {{.pointer = "/tone", .test = Condition::Test::kMissing}};
    pipeline.stages[2].steps[0].when.steps = {{.name = "ok"}};
    paused();
    approve_with_a_tone();
    EXPECT_EQ(bench.complete(pipeline).state.text(), R"({"question":"why","a":true,"tone":"formal","b":true})");
}

TEST_F(ApprovalTest, IsSkippedWhereItsConditionDoesNotHold) {
    pipeline.stages[1].steps[0].when.members = {{.pointer = "/nothing"}};
    const PipelineResult done = bench.complete(pipeline);
    EXPECT_EQ(done.steps[1].outcome, StepOutcome::kSkipped);
}

TEST_F(ApprovalTest, ARejectedRunHasFailedAndStaysSo) {
    paused();
    ASSERT_TRUE(decide(false));
    EXPECT_EQ(bench.status().status, PipelineStatus::kFailed);
    for (int execution = 0; execution < 2; ++execution) {
        const auto result = bench.execute(pipeline);
        ASSERT_TRUE(result);
        EXPECT_EQ(result->status, PipelineStatus::kFailed);
        EXPECT_EQ(result->error->code, ErrorCode::kConflict);
        EXPECT_THAT(result->error->message, HasSubstr(R"(step "ok": it was rejected by "ann")"));
    }
    EXPECT_THAT(bench.journal.order(), ElementsAre("a"));
}

TEST_F(ApprovalTest, ARejectedRunThatIsRolledBackAsksAgain) {
    const std::string asked = paused().snapshot_id;
    ASSERT_TRUE(decide(false));
    ASSERT_TRUE(bench.executor()->state_persistence().recover_agent_state(
        {.run_id = "run", .recovery_type = RecoveryType::kRollback, .target_snapshot_id = asked}));
    EXPECT_EQ(bench.status().status, PipelineStatus::kPaused);
    ASSERT_TRUE(decide(true));
    bench.complete(pipeline);
}

TEST_F(ApprovalTest, TheFirstDecisionStands) {
    paused();
    ASSERT_TRUE(decide(true));
    const auto history = bench.history();
    expect_refused(decide(true, "bob"), ErrorCode::kConflict, R"(was approved by "ann" already)");
    expect_refused(decide(false, "bob"), ErrorCode::kConflict, R"(was approved by "ann" already)");
    EXPECT_THAT(bench.history(), SizeIs(history.size()));
    bench.complete(pipeline);
    expect_refused(decide(false), ErrorCode::kInvalidArgument, "does not wait for approval: it is completed (3 of 3");
}

TEST_F(ApprovalTest, ARejectionStandsToo) {
    paused();
    ASSERT_TRUE(decide(false));
    expect_refused(decide(true, "bob"), ErrorCode::kConflict, R"(was rejected by "ann" already)");
    ASSERT_TRUE(bench.execute(pipeline));
    expect_refused(decide(true, "bob"), ErrorCode::kConflict, R"(was rejected by "ann" already)");
}

TEST_F(ApprovalTest, OfManyDecisionsAtTheSameTimeOneCounts) {
    paused();
    const std::size_t before = bench.history().size();
    std::atomic<int> counted = 0;
    {
        std::vector<std::jthread> deciders;
        for (int i = 0; i < 8; ++i) {
            deciders.emplace_back([&, i] {
                const auto decision = decide(i % 2 == 0, std::to_string(i));
                if (decision)
                    ++counted;
                else
                    EXPECT_EQ(decision.error().code, ErrorCode::kConflict) << decision.error().to_string();
            });
        }
    }
    EXPECT_EQ(counted, 1);
    EXPECT_THAT(bench.history(), SizeIs(before + 1));
}

TEST_F(ApprovalTest, ARunThatDoesNotWaitCannotBeDecided) {
    expect_refused(decide(true), ErrorCode::kNotFound, "run");
    ASSERT_TRUE(bench.executor()->state_persistence().save_agent_state(
        {.run_id = "plain", .thread_id = "thread", .user_id = "user"}));
    expect_refused(
        decide_approval(bench.executor()->state_persistence(), {.run_id = "plain", .step = "ok", .by = "ann"}),
        ErrorCode::kInvalidArgument, "is no pipeline's");
    paused();
    const auto executor = bench.executor();
    const auto decide_as = [&](const ApprovalDecision& decision) {
        return decide_approval(executor->state_persistence(), decision);
    };
    expect_refused(decide_as({.run_id = "run", .step = "b", .by = "ann"}), ErrorCode::kInvalidArgument,
                   R"(waits for approval of step "ok", not of "b")");
    expect_refused(decide_as({.run_id = "run", .step = "ok", .by = ""}), ErrorCode::kInvalidArgument, "by");
    expect_refused(decide_as({.run_id = "run", .step = "ok", .by = "ann", .user_id = "bob"}), ErrorCode::kNotFound,
                   "run");
    EXPECT_EQ(bench.status().status, PipelineStatus::kPaused);
}

TEST_F(ApprovalTest, ARunThatIsDeletedMeanwhileIsNotFound) {
    paused();
    const auto executor = bench.executor();
    const auto decision = decide_approval(
        executor->state_persistence(), {.run_id = "run", .step = "ok", .by = "ann", .change = [&](const State& state) {
                                            EXPECT_TRUE(delete_runs(*bench.store, {.run_id = "run"}, {}));
                                            return Result<State>(state);
                                        }});
    expect_refused(decision, ErrorCode::kNotFound, "run");
    EXPECT_THAT(bench.history(), IsEmpty());
}

TEST_F(ApprovalTest, APauseThatCannotBeSavedIsNoPause) {
    for (const OnSaveFailure policy : {OnSaveFailure::kStop, OnSaveFailure::kGoOn}) {
        bench.options.on_save_failure = policy;
        bench.store->heal();
        bench.add("breaks the store " + std::to_string(static_cast<int>(policy)),
                  [&](const State& state, const AgentCall&) -> Result<State> {
                      bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
                      return state;
                  });
        pipeline.stages[0].steps[0].agent = "breaks the store " + std::to_string(static_cast<int>(policy));
        const auto result = bench.execute(pipeline, std::to_string(static_cast<int>(policy)));
        ASSERT_TRUE(result);
        EXPECT_EQ(result->status, PipelineStatus::kInterrupted);
        EXPECT_EQ(result->error->code, ErrorCode::kStorageFull);
        EXPECT_EQ(result->waiting_for, "");
    }
}

TEST_F(ApprovalTest, IsDurableWhateverTheDurabilityOfTheRun) {
    for (const Durability durability : {Durability::kAsync, Durability::kExit}) {
        bench.options.config.durability = durability;
        const std::string run(to_string(durability));
        ASSERT_EQ(bench.execute(pipeline, run)->status, PipelineStatus::kPaused);
        StatePersistenceService other(bench.store);
        ASSERT_TRUE(decide_approval(other, {.run_id = run, .step = "ok", .by = "ann"}));
        bench.complete(pipeline, run);
    }
}

TEST_F(ApprovalTest, AChangedPipelineMayGoOnWithoutTheQuestion) {
    paused();
    bench.context.accept_changes = true;
    pipeline.stages.erase(pipeline.stages.begin() + 1);
    bench.complete(pipeline);
    expect_refused(decide(true), ErrorCode::kInvalidArgument, "it is completed");
}

TEST_F(ApprovalTest, TwoQuestionsAreAskedOneAfterTheOther) {
    pipeline.stages.push_back(approval("again"));
    paused();
    ASSERT_TRUE(decide(true));
    const auto second = bench.execute(pipeline);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->status, PipelineStatus::kPaused);
    EXPECT_EQ(second->waiting_for, "again");
    expect_refused(decide(true), ErrorCode::kInvalidArgument, R"(waits for approval of step "again", not of "ok")");
    ASSERT_TRUE(
        decide_approval(bench.executor()->state_persistence(), {.run_id = "run", .step = "again", .by = "ann"}));
    EXPECT_EQ(bench.complete(pipeline).steps.size(), 4U);
}

TEST_F(ApprovalTest, WatchersAreToldOfThePauseAndOfTheDecision) {
    const auto recorder = std::make_shared<EventRecorder>();
    ASSERT_TRUE(bench.executor(recorder)->execute_pipeline(pipeline, bench.input, "run", bench.context));
    EXPECT_EQ(recorder->summary().back(), "completed paused");
    ASSERT_TRUE(decide(true));
    const auto after = std::make_shared<EventRecorder>();
    ASSERT_TRUE(bench.executor(after)->execute_pipeline(pipeline, bench.input, "run", bench.context));
    EXPECT_EQ(after->summary().at(1), "step_completed ok");
    EXPECT_EQ(after->events().at(1).message, "approved by ann");
}

TEST_F(ApprovalTest, StandsAloneAndHasNoAgent) {
    const auto expect_wrong = [&](const Pipeline& wrong, const std::string& words) {
        const Status checked = bench.engine->check(wrong);
        ASSERT_FALSE(checked);
        EXPECT_EQ(checked.error().code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(checked.error().message, HasSubstr(words));
    };
    Pipeline grouped = pipeline;
    grouped.stages[1].steps.push_back({.name = "x", .agent = "note"});
    expect_wrong(grouped, R"(step "ok" needs approval: give it a stage of its own)");
    for (const auto& spoil : std::vector<std::function<void(Step&)>>{
             [](Step& step) { step.agent = "note"; }, [](Step& step) { step.may_fail = true; },
             [](Step& step) { step.timeout = std::chrono::seconds(1); },
             [](Step& step) { step.retry.attempts_max = 2; }}) {
        Pipeline wrong = pipeline;
        spoil(wrong.stages[1].steps[0]);
        expect_wrong(wrong, R"(step "ok" needs approval: leave out agent, may_fail, retry and timeout)");
    }
    EXPECT_NE(pipeline.fingerprint(),
              (Pipeline{.name = "p", .stages = {alone("a"), alone("ok"), alone("b")}}.fingerprint()));
}

}  // namespace
}  // namespace cairn::test
