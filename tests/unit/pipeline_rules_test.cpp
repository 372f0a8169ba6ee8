// Goal: a pipeline that cannot run is refused before anything runs, and the message names the step and what to do. The
// fingerprint changes with everything that a run depends on, and with nothing else.
// Method: one valid pipeline, and one mistake at a time.

#include "pipeline/rules/pipeline_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

namespace cairn {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const KnownNames kKnown{.agents = {"think", "write"}, .mergers = {"append", "merge"}};

Step step(const std::string& name, const std::vector<std::string>& awaited = {}) {
    Step made{.name = name, .agent = "think"};
    for (const std::string& other : awaited) made.when.steps.push_back({other});
    return made;
}

/// Makes a valid pipeline: a, then b and c together, then d if b was completed.
Pipeline good_pipeline() {
    Pipeline pipeline{.name = "review", .stages = {}};
    pipeline.stages.push_back({.steps = {step("a")}});
    pipeline.stages.push_back({.steps = {step("b"), step("c", {"a"})}, .on_conflict = MergePolicy::kMerger});
    pipeline.stages[1].merger = "append";
    pipeline.stages.push_back({.steps = {step("d", {"b"})}});
    return pipeline;
}

std::string refusal(const Pipeline& pipeline, const KnownNames& known = kKnown) {
    const Status status = check_pipeline(pipeline, known);
    EXPECT_FALSE(status.has_value());
    if (status) return "";
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    return status.error().message;
}

/// Returns the error of the good pipeline after one change.
std::string refusal_after(const std::function<void(Pipeline&)>& change) {
    Pipeline pipeline = good_pipeline();
    change(pipeline);
    return refusal(pipeline);
}

/// Returns the error of the good pipeline with step "d" changed.
std::string refusal_of_d(const std::function<void(Step&)>& change) {
    const std::string message = refusal_after([&](Pipeline& pipeline) { change(pipeline.stages[2].steps[0]); });
    EXPECT_THAT(message, HasSubstr("step \"d\""));
    return message;
}

TEST(PipelineRules, AGoodPipelineIsAccepted) {
    const Status status = check_pipeline(good_pipeline(), kKnown);
    EXPECT_TRUE(status.has_value()) << status.error().message;
}

TEST(PipelineRules, NamesAreGivenOnceAndCanBePrinted) {
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.name = ""; }), HasSubstr("the pipeline's name"));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[1].steps[0].name = ""; }), HasSubstr("the name of step 2"));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[0].steps[0].name = "a\n"; }), HasSubstr("control characters"));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[0].steps[0].name = std::string(256, 'x'); }),
                HasSubstr("1 to 255 bytes"));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[2].steps[0].name = "a"; }),
                HasSubstr("step name \"a\" is used twice"));
}

TEST(PipelineRules, StagesAndPipelinesHaveSteps) {
    EXPECT_THAT(refusal({.name = "empty", .stages = {}}), HasSubstr("no stages"));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[1].steps.clear(); }), HasSubstr("stage 2 has no steps"));
}

TEST(PipelineRules, UnknownAgentsAndMergersAreAnsweredWithTheKnownOnes) {
    EXPECT_THAT(refusal_of_d([](Step& d) { d.agent = "thnk"; }),
                AllOf(HasSubstr("\"thnk\""), HasSubstr("known agents are \"think\" and \"write\"")));
    EXPECT_THAT(refusal_of_d([](Step& d) { d.agent = ""; }), HasSubstr("names no agent"));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[1].merger = "apend"; }),
                AllOf(HasSubstr("stage 2 (step \"b\")"), HasSubstr("known mergers are \"append\" and \"merge\"")));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[0].merger = "append"; }), HasSubstr("does not use one"));
    Pipeline pipeline = good_pipeline();
    EXPECT_THAT(refusal(pipeline, {.agents = {}, .mergers = {"append"}}), HasSubstr("no agent is known"));
}

TEST(PipelineRules, RetriesAndTimesAreSane) {
    using std::chrono::milliseconds;
    EXPECT_THAT(refusal_of_d([](Step& d) { d.retry.attempts_max = 0; }), HasSubstr("attempts_max is 0"));
    EXPECT_THAT(refusal_of_d([](Step& d) { d.retry.backoff = milliseconds(-1); }), HasSubstr("backoff is -1 ms"));
    EXPECT_THAT(refusal_of_d([](Step& d) { d.retry.backoff_max = milliseconds(-5); }), HasSubstr("backoff_max is -5"));
    EXPECT_THAT(refusal_of_d([](Step& d) { d.retry.backoff = milliseconds(30'001); }), HasSubstr("raise backoff_max"));
    EXPECT_THAT(refusal_of_d([](Step& d) { d.timeout = milliseconds(-1); }), HasSubstr("timeout is -1 ms"));
    EXPECT_THAT(refusal_of_d([](Step& d) { d.timeout = milliseconds::max(); }), HasSubstr("30 days"));
}

TEST(PipelineRules, PhasesAndConditionsAreChecked) {
    EXPECT_THAT(refusal_of_d([](Step& d) { d.phase = AgentPhase(std::string(65, 'x')); }), HasSubstr("phase is"));
    EXPECT_THAT(refusal_of_d([](Step& d) { d.when.members.push_back({"risk"}); }), HasSubstr("JSON Pointer"));
}

TEST(PipelineRules, AConditionAsksAboutAStepOfAnEarlierStage) {
    EXPECT_THAT(refusal_of_d([](Step& d) { d.when.steps.push_back({"x"}); }),
                HasSubstr("about step \"x\", which the pipeline does not have"));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[1].steps[0].when.steps.push_back({"c"}); }),
                HasSubstr("step \"b\" has a condition about step \"c\", which does not come before it"));
    EXPECT_THAT(refusal_after([](Pipeline& p) { p.stages[0].steps[0].when.steps.push_back({"d"}); }),
                HasSubstr("step \"a\" has a condition about step \"d\", which does not come before it"));
}

TEST(PipelineRules, ConditionsThatWaitForEachOtherAreRefused) {
    Pipeline pipeline{.name = "round", .stages = {}};
    pipeline.stages.push_back({.steps = {step("start"), step("a", {"b"})}});
    pipeline.stages.push_back({.steps = {step("b", {"c"}), step("c", {"a"})}});
    EXPECT_THAT(refusal(pipeline), HasSubstr(R"(step "a" has a condition about step "b", which does not come before)"));
    pipeline.stages = {{.steps = {step("a", {"a"})}}};
    EXPECT_THAT(refusal(pipeline), HasSubstr(R"(step "a" has a condition about step "a", which does not come before)"));
}

TEST(Pipeline, StepsTotalCountsThoseOfAllStages) {
    EXPECT_EQ(good_pipeline().steps_total(), 4U);
    EXPECT_EQ(Pipeline{}.steps_total(), 0U);
}

using Change = std::function<void(Pipeline&)>;

Step& step_d(Pipeline& pipeline) {
    return pipeline.stages[2].steps[0];
}

TEST(Pipeline, TheFingerprintChangesWithAllThatARunDependsOn) {
    const std::vector<Change> changes{
        [](Pipeline& p) { step_d(p).name = "e"; },
        [](Pipeline& p) { step_d(p).agent = "write"; },
        [](Pipeline& p) { step_d(p).with = *State::parse(R"({"n":1})"); },
        [](Pipeline& p) { step_d(p).phase = AgentPhase::kTriage; },
        [](Pipeline& p) { step_d(p).may_fail = true; },
        [](Pipeline& p) { step_d(p).when.steps[0].outcome = StepOutcome::kFailed; },
        [](Pipeline& p) { step_d(p).when.steps[0].name = "c"; },
        [](Pipeline& p) { step_d(p).when.steps.clear(); },
        [](Pipeline& p) { step_d(p).when.members = {{"/x"}}; },
        [](Pipeline& p) { step_d(p).when.members = {{"/x", Condition::Test::kMissing}}; },
        [](Pipeline& p) { step_d(p).when.members = {{"/x", Condition::Test::kEquals, {"1"}}}; },
        [](Pipeline& p) { step_d(p).when.members = {{"/x", Condition::Test::kIn, {"1"}}}; },
        [](Pipeline& p) { step_d(p).when.members = {{"/x", Condition::Test::kIn, {"1", "2"}}}; },
        [](Pipeline& p) { p.stages[1].on_conflict = MergePolicy::kLast; },
        [](Pipeline& p) { p.stages[1].merger = "merge"; },
        [](Pipeline& p) { std::swap(p.stages[1].steps[0], p.stages[1].steps[1]); },
        [](Pipeline& p) { p.stages[2].steps.push_back(step("e")); },
        [](Pipeline& p) { p.stages.push_back({.steps = {step("e")}}); },
        [](Pipeline& p) { p.stages.pop_back(); },
    };
    std::set<std::string> fingerprints{good_pipeline().fingerprint()};
    for (std::size_t i = 0; i < changes.size(); ++i) {
        Pipeline pipeline = good_pipeline();
        changes[i](pipeline);
        EXPECT_TRUE(fingerprints.insert(pipeline.fingerprint()).second) << "change " << i;
    }
}

TEST(Pipeline, TheFingerprintStaysWithRetriesAndTimeouts) {
    Pipeline pipeline = good_pipeline();
    step_d(pipeline).retry = {.attempts_max = 9};
    step_d(pipeline).timeout = std::chrono::seconds(9);
    EXPECT_EQ(pipeline.fingerprint(), good_pipeline().fingerprint());
}

TEST(Pipeline, TheFingerprintIsTheOneThatEarlierVersionsStored) {
    EXPECT_EQ(good_pipeline().fingerprint(), "bc34b4e5648fe35a78efe54f501b2390");
}

}  // namespace
}  // namespace cairn
