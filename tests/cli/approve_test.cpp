// Goal: a person sees which run waits and at which step, and decides from the command line; then the run goes on or
// has failed. The exit code of `cairn run` tells a pause from success and failure.
// Method: runs the built program on a pipeline of shell agents with an approve step between them.

#include "cli/program_fixture.h"

#include <csignal>
#include <filesystem>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kPaused = 20;

class CairnApprove : public CairnPipeline {
protected:
    CairnApprove() {
        write("p.yaml", "name: demo\nagents:\n" + marking_agent("mark", "true") + R"(steps:
  - {step: draft, agent: mark}
  - approve: publish
  - {step: send, agent: mark}
)");
    }

    ProgramResult run_demo(const std::vector<std::string>& more = {}) {
        return CairnPipeline::run_demo(std::vector<std::string>{"--run", "r1"} + more);
    }
    ProgramResult approve(const std::vector<std::string>& more = {}) {
        return run(std::vector<std::string>{"approve", "r1", "--step", "publish", "--by", "ann"} + more);
    }
};

TEST_F(CairnApprove, ARunPausesAndIsShownAndGoesOnWhenItIsApproved) {
    const auto paused = run_demo();
    EXPECT_EQ(paused.exit_code, kPaused) << paused.errors;
    EXPECT_THAT(paused.output, AllOf(HasSubstr("publish  waits for approval"),
                                     HasSubstr("decide: cairn approve r1 --step publish   (or --reject)"),
                                     HasSubstr("go on:  cairn run p.yaml --run r1 --resume")));
    EXPECT_THAT(paused.errors, HasSubstr("[1/3] paused after"));
    EXPECT_THAT(run({"runs"}).output, HasSubstr("paused at publish  1 of 3"));
    EXPECT_EQ(only_run()["status"], "paused");
    EXPECT_EQ(only_run()["waiting_for"], "publish");

    const auto again = run_demo({"--resume", "--json"});
    EXPECT_EQ(again.exit_code, kPaused);
    EXPECT_EQ(Json::parse(again.output)["status"], "paused");
    EXPECT_EQ(Json::parse(again.output)["waiting_for"], "publish");
    expect_error(run_demo(), ErrorCode::kInvalidArgument, "decide with `cairn approve r1 --step publish`");

    const auto approved = approve({"--set", "tone=\"formal\"", "--set", "copies=2"});
    EXPECT_EQ(approved.exit_code, 0) << approved.errors;
    EXPECT_THAT(approved.output, HasSubstr("go on:  cairn run PIPELINE --run r1 --resume"));
    EXPECT_EQ(only_run()["status"], "approved");
    EXPECT_TRUE(only_run()["waiting_for"].is_null());
    const auto done = run_demo({"--resume"});
    EXPECT_EQ(done.exit_code, 0) << done.errors;
    EXPECT_THAT(done.errors, HasSubstr("[2/3] publish approved by ann"));
    EXPECT_EQ(run({"load", "--run", "r1"}).output, R"({"draft":true,"tone":"formal","copies":2,"send":true})"
                                                   "\n");
    EXPECT_EQ(read("journal"), "draft 1\nsend 1\n");
}

TEST_F(CairnApprove, ARejectedRunHasFailed) {
    run_demo();
    EXPECT_EQ(approve({"--reject"}).exit_code, 0);
    EXPECT_EQ(only_run()["status"], "failed");
    const auto refused = run_demo({"--resume"});
    EXPECT_EQ(refused.exit_code, exit_code_of(ErrorCode::kConflict));
    EXPECT_THAT(
        last_line_of(refused.errors),
        AllOf(HasSubstr("p.yaml:8:14: step \"publish\": it was rejected by \"ann\""), HasSubstr("Roll the run back")));
    EXPECT_THAT(refused.output,
                AllOf(HasSubstr("cairn recover --run r1 --type rollback --to SNAPSHOT"), Not(HasSubstr("--resume"))));
    EXPECT_EQ(read("journal"), "draft 1\n");
}

TEST_F(CairnApprove, TheFirstDecisionStandsAndTheOwnerIsAsked) {
    expect_error(approve(), ErrorCode::kNotFound, "cairn.db");
    run_demo();
    expect_error(run({"approve", "r2", "--step", "publish"}), ErrorCode::kNotFound, "r2");
    expect_error(approve({"--user", "somebody"}), ErrorCode::kNotFound, "r1");
    expect_error(run({"approve", "r1", "--step", "send"}), ErrorCode::kInvalidArgument,
                 "waits for approval of step \"publish\"");
    EXPECT_NE(approve({"--reject", "--set", "a=1"}).exit_code, 0);
    expect_error(approve({"--set", "a"}), ErrorCode::kInvalidArgument, "give KEY=VALUE");
    const Json receipt = parsed(approve({"--json"}));
    EXPECT_EQ(receipt["durability"], "sync");
    expect_error(approve(), ErrorCode::kConflict, "was approved by \"ann\" already");
    EXPECT_THAT(approve().errors,
                HasSubstr("already, and that stands. Execute the run again (`cairn run … --resume`)"));
    EXPECT_THAT(run({"runs"}).output, HasSubstr("  approved  "));
    expect_error(approve({"--reject"}), ErrorCode::kConflict, "was approved by \"ann\" already");
}

TEST_F(CairnApprove, TheNewestRunThatCanGoOnIsResumedBeforeOneThatWaits) {
    run_demo();
    run({"run", "p.yaml", "--run", "r2"});
    run({"approve", "r1", "--step", "publish"});
    EXPECT_EQ(parsed(run({"run", "p.yaml", "--resume", "--json"}))["run_id"], "r1");
    EXPECT_EQ(Json::parse(run({"run", "p.yaml", "--resume", "--json"}).output)["run_id"], "r2");
}

TEST_F(CairnApprove, ADryRunShowsTheQuestion) {
    EXPECT_THAT(run_demo({"--dry-run"}).output, HasSubstr("publish  (approval)"));
    run_demo();
    EXPECT_THAT(run_demo({"--resume", "--dry-run"}).output,
                HasSubstr("it would begin nowhere: it waits for approval of step \"publish\""));
}

// ---- forks of a pipeline's run ----

class CairnPipelineFork : public Cairn {
protected:
    void write_pipeline() {
        write("p.yaml", R"(name: demo
agents:
  mark:
    command: [sh, -c, 'echo "$CAIRN_RUN_ID $CAIRN_STEP" >> journal; [ ! -e stop-$CAIRN_STEP ] && printf "{\"%s\":true}" "$CAIRN_STEP"']
    output: merge_patch
steps:
  - {step: a, agent: mark}
  - parallel:
      - {step: x, agent: mark}
      - {step: y, agent: mark}
    at_once: 1
  - {step: b, agent: mark}
)");
    }
    std::string journal_of(const std::string& run_id) {
        std::istringstream lines(read("journal"));
        std::string steps;
        for (std::string run, step; lines >> run >> step;) steps += run == run_id ? step : "";
        return steps;
    }
    ProgramResult run_demo(const std::string& run_id) {
        return run({"run", "p.yaml", "--run", run_id, "--resume-or-start"});
    }
};

TEST_F(CairnPipelineFork, GoesOnFromItsStepInARunOfItsOwnOrInTheOldOne) {
    write_pipeline();
    EXPECT_EQ(run_demo("r1").exit_code, 0);
    EXPECT_EQ(run({"fork", "--run", "r1", "--from", "2", "--to-run", "r2"}).exit_code, 0);
    const auto resumed = run({"run", "p.yaml", "--run", "r2", "--resume"});
    EXPECT_EQ(resumed.exit_code, 0) << resumed.errors;
    EXPECT_EQ(journal_of("r2"), "xyb");
    const Json metadata = parsed(run({"log", "--run", "r2", "--json"})).back()["metadata"];
    EXPECT_EQ(metadata["forked_from_run"], "r1");
    EXPECT_EQ(metadata["pipeline"], "demo");

    EXPECT_EQ(run({"fork", "--run", "r1", "--from", "2", "--metadata", R"({"branch":"b"})"}).exit_code, 0);
    EXPECT_EQ(parsed(run({"log", "--run", "r1", "--json"})).front()["metadata"]["branch"], "b");
    EXPECT_EQ(run_demo("r1").exit_code, 0);
    EXPECT_EQ(journal_of("r1"), "axybxyb");
}

TEST_F(CairnPipelineFork, TakesTheFinishedStepsOfAGroupWithIt) {
    write_pipeline();
    write("stop-y", "");
    EXPECT_NE(run_demo("r1").exit_code, 0);
    EXPECT_EQ(journal_of("r1"), "axy");
    const Json versions = parsed(run({"log", "--run", "r1", "--json"}));
    for (const Json& snapshot : versions) {
        const std::string version = std::to_string(snapshot["version"].get<int>());
        EXPECT_EQ(run({"fork", "--run", "r1", "--from", version, "--to-run", "f" + version}).exit_code, 0);
    }
    std::filesystem::remove(folder_ / "stop-y");
    EXPECT_EQ(run({"delete", "--run", "r1", "--yes"}).exit_code, 0);
    const std::vector<std::string> left{"axyb", "xyb", "yb", "yb"};  // the input, after a, x's result, the end
    ASSERT_EQ(versions.size(), left.size());
    for (std::size_t i = 0; i < left.size(); ++i) {
        const std::string run_id = "f" + std::to_string(i + 1);
        EXPECT_EQ(run_demo(run_id).exit_code, 0) << run_id;
        EXPECT_EQ(journal_of(run_id), left[i]) << run_id;
        EXPECT_EQ(run({"load", "--run", run_id}).output, "{\"a\":true,\"x\":true,\"y\":true,\"b\":true}\n");
    }
}

TEST_F(CairnPipelineFork, OfAnythingElseIsWhatItWas) {
    saved(R"({"n":1})");
    EXPECT_EQ(run({"fork", "--run", "r1", "--from", "1"}).exit_code, 0);
    EXPECT_TRUE(log().front()["metadata"].is_null());
}

}  // namespace
}  // namespace cairn::test
