// Goal: `cairn run` does what a pipeline's file says, reports in words and by its exit code how the run ended, and goes
// on with the rest later. `cairn runs` reports the same.
// Method: runs the built program on small pipelines of shell agents, each of which writes a line to a journal. If the
// program must be in the middle of its work, an agent makes a file and waits.

#include "cli/program_fixture.h"

#include <fmt/format.h>

#include <csignal>
#include <filesystem>
#include <set>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class CairnRun : public CairnPipeline {
protected:
    // Writes a pipeline of three steps, each of which writes a line to "journal". The second step also runs
    // "second.sh".
    void write_pipeline(const std::string& second = "true") {
        write("second.sh", second);
        write("p.yaml", "name: demo\nagents:\n" + marking_agent("mark", "$CAIRN_WITH") + R"(  second:
    command: [sh, -c, 'echo "$CAIRN_STEP $CAIRN_ATTEMPT" >> journal; . ./second.sh; echo "{\"second\":true}"']
    output: merge_patch
    grace: 100ms
steps:
  - {step: first, agent: mark, with: {n: 1.50}}
  - {step: second, timeout: 1h}
  - {step: third, agent: mark, when: {member: /skip, not_equals: true}}
)");
    }

    void edit_pipeline(std::string_view from, std::string_view to) {
        const std::string text = read("p.yaml");
        const auto at = text.find(from);
        std::string edited = text.substr(0, at);
        edited.append(to).append(text, at + from.size());
        write("p.yaml", edited);
    }

    Json outcome(const std::vector<std::string>& more = {}, std::string_view input = {},
                 const Environment& environment = {}) {
        return parsed(run_demo(std::vector<std::string>{"--run", "r1", "--json"} + more, input, environment));
    }
};

const std::vector<std::string> kOutcome{
    "run_id",      "thread_id", "user_id", "pipeline", "status", "waiting_for",  "is_resumed",  "is_saved",
    "snapshot_id", "saves",     "skips",   "error",    "steps",  "bytes_stored", "duration_us", "unsaved_file"};

TEST_F(CairnRun, RunsEveryStepAndSavesIt) {
    write_pipeline();
    const Json done = outcome({"--thread", "t1", "--user", "u1"});
    EXPECT_EQ(keys_of(done), kOutcome);
    EXPECT_EQ(done["status"], "completed");
    EXPECT_EQ(done["is_saved"], true);
    EXPECT_EQ(done["is_resumed"], false);
    EXPECT_TRUE(done["error"].is_null());
    EXPECT_TRUE(done["unsaved_file"].is_null());
    EXPECT_GT(done["bytes_stored"], 0);
    ASSERT_EQ(done["steps"].size(), 3U);
    EXPECT_EQ(done["steps"][1]["step"], "second");
    EXPECT_EQ(done["steps"][1]["attempt"], 1);
    EXPECT_EQ(read("journal"), "first 1\nsecond 1\nthird 1\n");
    EXPECT_EQ(run({"load", "--run", "r1", "--thread", "t1", "--user", "u1"}).output,
              "{\"first\":{\"n\":1.50},\"second\":true,\"third\":{}}\n");
    const Json listed = only_run();
    EXPECT_EQ(listed["pipeline"], "demo");
    EXPECT_EQ(listed["status"], "completed");
    EXPECT_EQ(listed["steps_completed"], 3);
    EXPECT_EQ(listed["steps_total"], 3);
    EXPECT_GE(listed["checkpoint_age_ms"], 0);
}

TEST_F(CairnRun, TellsAPersonWhatHappenedAndWhatToDoNext) {
    write_pipeline();
    const auto result = run_demo({"--set", "skip=true"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.errors, AllOf(StartsWith("run "), HasSubstr("(thread cli, user "),
                                     HasSubstr("[1/3] first completed"), HasSubstr("[3/3] third skipped")));
    const std::string run_id = only_run()["run_id"];
    EXPECT_EQ(run_id.size(), 36U);
    EXPECT_THAT(result.errors, StartsWith("run " + run_id));
    EXPECT_THAT(result.output, AllOf(StartsWith("STEP    OUTCOME"), HasSubstr("cairn load --run " + run_id),
                                     HasSubstr("cairn log --run " + run_id), Not(HasSubstr("--resume"))));
    EXPECT_THAT(run({"runs"}).output, AllOf(HasSubstr("STATUS"), HasSubstr("completed  3 of 3")));
}

TEST_F(CairnRun, TheNextStepAfterAMissingProgramOrATimeoutIsTold) {
    const auto with = [&](const std::string& command, const std::string& timeout = "10m") {
        write("p.yaml", fmt::format("name: p\nagents: {{a: {{command: [{}]}}}}\nsteps: [{{step: a, timeout: {}}}]\n",
                                    command, timeout));
        return run_demo();
    };
    const auto missing = with("no-such-program");
    EXPECT_EQ(missing.exit_code, exit_code_of(ErrorCode::kNotFound));
    EXPECT_THAT(missing.errors, AllOf(HasSubstr("no program \"no-such-program\" in PATH"),
                                      HasSubstr("Install the program, or correct the step's command or PATH.")));
    write("plain.txt", "no program");
    EXPECT_THAT(with("./plain.txt").errors, HasSubstr("Make the file executable (chmod +x)"));
    const auto late = with("sleep, '600'", "10ms");
    EXPECT_EQ(late.exit_code, exit_code_of(ErrorCode::kUnavailable));
    EXPECT_THAT(late.errors, AllOf(HasSubstr("its time of 10 ms was up"), HasSubstr("a longer timeout")));
}

TEST_F(CairnRun, BeginsWithTheInputAndWhatIsSet) {
    write_pipeline();
    write("in.json", R"({"big": 12345678901234567890, "b": 1})");
    outcome({"--input", "in.json", "--set", "b=[2]", "--set", "c=some text"});
    EXPECT_THAT(run({"load", "--run", "r1"}).output,
                StartsWith(R"({"big":12345678901234567890,"b":[2],"c":"some text",)"));
    parsed(run_demo({"--run", "r2", "--json", "--input", "-"}, "{\"x\":1}"));
    EXPECT_THAT(run({"load", "--run", "r2"}).output, StartsWith("{\"x\":1,"));
    expect_error(run_demo({"--input", "-"}, "[]"), ErrorCode::kInvalidState, "--input (standard input): ");
    expect_error(run_demo({"--input", "none.json"}), ErrorCode::kNotFound, "none.json");
    expect_error(run_demo({"--set", "b"}), ErrorCode::kInvalidArgument, "--set \"b\": give KEY=VALUE");
}

TEST_F(CairnRun, AResumedRunKeepsItsStateAndSaysThatTheInputIsNotUsed) {
    write_pipeline("exit 3");
    run_demo({"--run", "r1", "--set", "a=1"});
    write("second.sh", "true");
    const auto resumed = run_demo({"--run", "r1", "--resume", "--set", "a=2"});
    EXPECT_THAT(resumed.errors, StartsWith("note: run r1 goes on with the state that it has: --input and --set"));
    EXPECT_THAT(run({"load", "--run", "r1"}).output, StartsWith(R"({"a":1,)"));
}

TEST_F(CairnRun, ARunOfOthersIsNeitherToldOfNorGoneOnWith) {
    write_pipeline("exit 3");
    run_demo({"--run", "r1", "--user", "ann", "--thread", "t1"});
    const std::string journal = read("journal");
    for (const std::vector<std::string>& owner : {std::vector<std::string>{"--user", "bob"},
                                                  {"--user", "bob", "--thread", "t1"},
                                                  {"--user", "ann", "--thread", "t2"}}) {
        const std::vector<std::string> as = std::vector<std::string>{"--run", "r1"} + owner;
        expect_error(run_demo(as + std::vector<std::string>{"--resume"}), ErrorCode::kNotFound, "no run \"r1\"");
        expect_error(run_demo(as + std::vector<std::string>{"--resume", "--take-over"}), ErrorCode::kNotFound,
                     "no run \"r1\"");
        const auto begun = run_demo(as);
        expect_error(begun, ErrorCode::kInvalidArgument, "another thread or user");
        EXPECT_THAT(begun.errors, Not(HasSubstr("steps"))) << "how it stands is its owner's business";
    }
    EXPECT_EQ(read("journal"), journal);
    write("second.sh", "true");
    EXPECT_EQ(outcome({"--resume", "--user", "ann", "--thread", "t1"})["status"], "completed");
}

TEST_F(CairnRun, AStateThatCannotBeSavedIsWrittenToAFile) {
    write_pipeline("printf '{\"long\":\"%2000s\"}'; exit 0");
    const auto result = run_demo({"--run", "r1", "--json"}, {}, {{"CAIRN_STATE_BYTES_MAX", "1000"}});
    EXPECT_EQ(result.exit_code, exit_code_of(ErrorCode::kLimitExceeded));
    const Json ended = Json::parse(result.output);
    EXPECT_EQ(ended["status"], "interrupted");
    EXPECT_EQ(ended["is_saved"], false);
    EXPECT_EQ(ended["unsaved_file"], "cairn-r1.json");
    EXPECT_THAT(ended["error"]["message"].get<std::string>(),
                StartsWith("p.yaml:12:12: step \"second\": its result cannot be saved: "));
    EXPECT_EQ(Json::parse(read("cairn-r1.json"))["long"].get<std::string>().size(), 2000U);
    EXPECT_EQ(only_run()["steps_completed"], 1);
}

// Every run's agent takes the store away. Two ids differ only in a character that file names cannot have, and one id is
// used twice.
TEST_F(CairnRun, NoUnsavedStateReplacesAnother) {
    write_pipeline("mv $STORE gone; printf '{\"who\":\"%s %s\"}' $CAIRN_RUN_ID $STORE; exit 0");
    const auto unsaved = [&](const std::string& run_id, const std::string& store) {
        const auto result = run_demo({"--run", run_id, "--json", "--store", "sqlite:" + store}, {}, {{"STORE", store}});
        return Json::parse(result.output)["unsaved_file"].get<std::string>();
    };
    EXPECT_EQ(unsaved("team/1", "a.db"), "cairn-team%2F1.json");
    EXPECT_EQ(unsaved("team_1", "b.db"), "cairn-team_1.json");
    EXPECT_EQ(unsaved("team_1", "c.db"), "cairn-team_1~2.json");
    EXPECT_EQ(unsaved("../1", "d.db"), "cairn-..%2F1.json");
    const auto who = [&](const std::string& file) { return Json::parse(read(file))["who"].get<std::string>(); };
    EXPECT_EQ(who("cairn-team%2F1.json"), "team/1 a.db");
    EXPECT_EQ(who("cairn-team_1.json"), "team_1 b.db");
    EXPECT_EQ(who("cairn-team_1~2.json"), "team_1 c.db");
    using std::filesystem::perms;
    EXPECT_EQ(std::filesystem::status(folder_ / "cairn-team_1.json").permissions(),
              perms::owner_read | perms::owner_write);
}

TEST_F(CairnRun, AnUnsavedStateFollowsNoLinkThatStandsAtItsName) {
    write_pipeline("mv cairn.db gone; echo '{}'; exit 0");
    std::filesystem::create_symlink("elsewhere", folder_ / "cairn-r1.json");
    run_demo({"--run", "r1"});
    EXPECT_FALSE(std::filesystem::exists(folder_ / "elsewhere"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "cairn-r1~2.json"));
}

TEST_F(CairnRun, DryRunRunsAndWritesNothing) {
    write_pipeline();
    const auto told = run_demo({"--dry-run", "--events", "events.jsonl"});
    EXPECT_EQ(told.exit_code, 0) << told.errors;
    EXPECT_THAT(told.output, AllOf(StartsWith("STAGE  STEP"), HasSubstr("/skip != true"),
                                   HasSubstr("it would begin at its first step. Nothing was run or written.")));
    const Json plan = outcome({"--dry-run"});
    EXPECT_EQ(plan["steps_total"], 3);
    EXPECT_EQ(plan["stages"][2]["steps"][0]["when"], "/skip != true");
    for (const char* file : {"cairn.db", "journal", "events.jsonl"}) {
        EXPECT_FALSE(std::filesystem::exists(folder_ / file)) << file;
    }
}

TEST_F(CairnRun, AFailedStepEndsItWithItsErrorAndPlaceAndResumeGoesOn) {
    write_pipeline("echo broken >&2; exit 3");
    const auto failed = run_demo({"--run", "r1"});
    EXPECT_EQ(failed.exit_code, exit_code_of(ErrorCode::kAgentFailed));
    EXPECT_THAT(last_line_of(failed.errors),
                AllOf(StartsWith("cairn: agent_failed: p.yaml:12:12: step \"second\": "), HasSubstr("broken")));
    EXPECT_THAT(failed.output, HasSubstr("cairn run p.yaml --run r1 --resume"));
    EXPECT_EQ(only_run()["status"], "failed");
    EXPECT_EQ(only_run()["steps_completed"], 1);

    expect_error(run_demo({"--run", "r1"}), ErrorCode::kInvalidArgument,
                 "run \"r1\" is there already and failed (1 of 3 steps done): add --resume");
    EXPECT_THAT(run_demo({"--resume", "--dry-run"}).output, HasSubstr("run r1: it would begin after step \"first\""));
    write("second.sh", "true");
    const Json done = parsed(run_demo({"--resume", "--json"}));
    EXPECT_EQ(done["run_id"], "r1");
    EXPECT_EQ(done["is_resumed"], true);
    EXPECT_EQ(done["steps"][0]["attempt"], 0);
    EXPECT_EQ(read("journal"), "first 1\nsecond 1\nsecond 2\nthird 1\n");
    expect_error(run_demo({"--resume"}), ErrorCode::kNotFound, "no run of pipeline \"demo\" is unfinished");
    EXPECT_THAT(run_demo({"--run", "r1"}).output, HasSubstr("This run is completed already: nothing was run."));
    EXPECT_EQ(read("journal"), "first 1\nsecond 1\nsecond 2\nthird 1\n");
}

TEST_F(CairnRun, AChangedPipelineIsRefusedUnlessAccepted) {
    write_pipeline("exit 1");
    run_demo({"--run", "r1"});
    edit_pipeline("1.50", "2");
    write("second.sh", "true");
    const auto refused = run_demo({"--run", "r1", "--resume"});
    EXPECT_EQ(refused.exit_code, exit_code_of(ErrorCode::kConflict));
    EXPECT_EQ(outcome({"--resume", "--accept-changes"})["status"], "completed");
    EXPECT_EQ(read("journal"), "first 1\nsecond 1\nsecond 2\nthird 1\n");
}

TEST_F(CairnRun, AStepPutBeforeWhereItStandsIsNotCalledCompleted) {
    write_pipeline("exit 1");
    run_demo({"--run", "r1"});
    edit_pipeline("  - {step: first,", "  - {step: review, agent: mark}\n  - {step: first,");
    write("second.sh", "true");
    const auto refused = run_demo({"--run", "r1", "--resume", "--accept-changes"});
    EXPECT_EQ(refused.exit_code, exit_code_of(ErrorCode::kConflict));
    EXPECT_THAT(
        last_line_of(refused.errors),
        HasSubstr("p.yaml:11:12: step \"review\": it has not been completed, but stands before step \"first\""));
    EXPECT_EQ(read("journal"), "first 1\nsecond 1\n");
}

TEST_F(CairnRun, OnlyWhatIsThereCanBeResumedUnlessItMayBegin) {
    write_pipeline();
    expect_error(
        run_demo({"--run", "typo", "--resume"}), ErrorCode::kNotFound,
        "--resume: there is no run \"typo\" here; leave --resume out for a new one, or give --resume-or-start");
    expect_error(run_demo({"--run", "typo", "--resume", "--dry-run"}), ErrorCode::kNotFound, "no run \"typo\"");
    expect_error(run_demo({"--resume"}), ErrorCode::kNotFound, "no run of pipeline \"demo\" is unfinished");
    EXPECT_FALSE(std::filesystem::exists(folder_ / "journal"));

    write("second.sh", "exit 1");
    EXPECT_NE(run_demo({"--run", "r1", "--resume-or-start"}).exit_code, 0);
    write("second.sh", "true");
    EXPECT_EQ(outcome({"--resume-or-start"})["is_resumed"], true);
    EXPECT_EQ(read("journal"), "first 1\nsecond 1\nsecond 2\nthird 1\n");
    const Json begun = parsed(run_demo({"--resume-or-start", "--json"}));
    EXPECT_NE(begun["run_id"], "r1");
    EXPECT_EQ(begun["is_resumed"], false);
}

TEST_F(CairnRun, EventsAreAppendedAsJsonLines) {
    write_pipeline();
    edit_pipeline("{step: third,", "{step: third, phase: reporting,");
    outcome({"--events", "events.jsonl"});
    std::istringstream lines(read("events.jsonl"));
    std::vector<std::string> types;
    std::set<std::string> phases;
    for (std::string line; std::getline(lines, line);) {
        const Json event = Json::parse(line);
        types.push_back(event["type"]);
        if (event["type"] != "checkpoint") continue;
        EXPECT_TRUE(event.contains("receipt") && event.contains("duration_us")) << line;
        if (event.contains("agent_phase")) phases.insert(event["agent_phase"]);
    }
    EXPECT_THAT(phases, ElementsAre("reporting"));
    ASSERT_THAT(types, ::testing::SizeIs(::testing::Ge(8U)));
    EXPECT_EQ(types.front(), "started");
    EXPECT_EQ(types.back(), "completed");
    expect_error(run_demo({"--events", "none/events.jsonl"}), ErrorCode::kNotFound, "events.jsonl");
}

TEST_F(CairnRun, MistakesInTheFileEndItBeforeAnythingIsMade) {
    write("p.yaml", "name: p\nagents: {}\nsteps:\n  - step: a\n");
    expect_error(run_demo(), ErrorCode::kInvalidArgument, "p.yaml:4:11: step \"a\": there is no agent \"a\"");
    expect_error(run({"run", "none.yaml"}), ErrorCode::kNotFound, "none.yaml");
    EXPECT_NE(run({"run"}).exit_code, 0);
    EXPECT_NE(run_demo({"--on-save-failure", "ignore"}).exit_code, 0);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "cairn.db"));
}

// The agent makes a file to show that it is at work, and waits for another file that never comes.
TEST_F(CairnRun, CtrlCStopsTheStepAndTheRunGoesOnLater) {
    write_pipeline("touch working; while [ ! -e go ]; do sleep 0.05; done");
    const auto stopped = run_shell(
        "\"$CAIRN\" run p.yaml --run-id r1 --json > report & pid=$!\n"
        "until [ -e working ]; do :; done\n"
        "kill -INT $pid; wait $pid");
    EXPECT_EQ(stopped.exit_code, 128 + SIGINT) << stopped.errors;
    EXPECT_THAT(stopped.errors, HasSubstr("finishing: press Ctrl-C again to leave at once"));
    const Json report = Json::parse(read("report"));
    EXPECT_EQ(report["status"], "interrupted");
    EXPECT_EQ(report["is_saved"], true);
    EXPECT_EQ(only_run()["status"], "interrupted");
    EXPECT_EQ(only_run()["step"], "first");
    write("go", "");
    EXPECT_EQ(outcome({"--resume"})["status"], "completed");
    EXPECT_EQ(read("journal"), "first 1\nsecond 1\nsecond 2\nthird 1\n");
}

// The agent ignores SIGTERM and has a grace period of an hour. Only the second Ctrl-C ends it. A thread is then left
// that nobody joins, which ThreadSanitizer would report.
TEST_F(CairnRun, ASecondCtrlCLeavesAtOnce) {
    write_pipeline("trap '' TERM; touch working; while [ ! -e go ]; do sleep 0.05; done");
    edit_pipeline("100ms", "1h");
    const auto left = run_shell(
        "export TSAN_OPTIONS=\"$TSAN_OPTIONS:report_thread_leaks=0\"\n"
        "\"$CAIRN\" run p.yaml --run-id r1 --json > report 2> errors & pid=$!\n"
        "until [ -e working ]; do :; done\n"
        "kill -INT $pid\n"
        "until grep -q finishing errors; do :; done\n"
        "kill -INT $pid; wait $pid; code=$?; touch go; exit $code");
    EXPECT_EQ(left.exit_code, 130) << left.errors;
    EXPECT_THAT(read("report"), IsEmpty());
    EXPECT_EQ(only_run()["steps_completed"], 1);
}

// A terminal that is closed may signal that more than once. The executor saves the finished work all the same.
TEST_F(CairnRun, AClosedTerminalStopsItAsSigtermDoes) {
    write_pipeline("touch working; while [ ! -e go ]; do sleep 0.05; done");
    const auto stopped = run_shell(
        "\"$CAIRN\" run p.yaml --run-id r1 --json > report & pid=$!\n"
        "until [ -e working ]; do :; done\n"
        "kill -HUP $pid; kill -HUP $pid; wait $pid");
    EXPECT_EQ(stopped.exit_code, 128 + SIGHUP) << stopped.errors;
    EXPECT_EQ(Json::parse(read("report"))["status"], "interrupted");
    EXPECT_EQ(Json::parse(read("report"))["is_saved"], true);
    EXPECT_EQ(only_run()["status"], "interrupted");
}

TEST_F(CairnRun, UnderNohupAClosedTerminalDoesNotStopIt) {
    write_pipeline("touch working; while [ ! -e go ]; do sleep 0.05; done");
    const auto ran = run_shell(
        "trap '' HUP\n"
        "\"$CAIRN\" run p.yaml --run-id r1 --json > report & pid=$!\n"
        "until [ -e working ]; do :; done\n"
        "kill -HUP $pid; touch go; wait $pid");
    EXPECT_EQ(ran.exit_code, 0) << ran.errors;
    EXPECT_EQ(Json::parse(read("report"))["status"], "completed");
}

TEST_F(CairnRun, MessagesThatCannotBeWrittenDoNotEndIt) {
    write_pipeline();
    EXPECT_EQ(run_shell("\"$CAIRN\" run p.yaml --run-id r1 2> /dev/full").exit_code, 0);
    EXPECT_EQ(run_shell("\"$CAIRN\" run p.yaml --run-id r2 --events e.jsonl 2>&-").exit_code, 0);
    EXPECT_EQ(run_shell("\"$CAIRN\" run none.yaml 2>&-").exit_code, exit_code_of(ErrorCode::kNotFound));
    std::istringstream events(read("e.jsonl"));
    for (std::string line; std::getline(events, line);) EXPECT_TRUE(Json::accept(line)) << line;
    EXPECT_EQ(read("journal"), "first 1\nsecond 1\nthird 1\nfirst 1\nsecond 1\nthird 1\n");
}

// The run's agent waits until the only reader of the run's messages has gone.
TEST_F(CairnRun, AReaderOfItsMessagesThatGoesAwayDoesNotEndIt) {
    write_pipeline("while [ ! -e gone ]; do sleep 0.05; done");
    run_shell(
        "{ \"$CAIRN\" run p.yaml --run-id r1 --events /dev/stderr 2>&1 > report; echo $? > code; } |\n"
        "{ exec < /dev/null; touch gone; }");
    EXPECT_EQ(read("code"), "0\n");
    EXPECT_EQ(only_run()["status"], "completed");
}

// The second agent is a shell whose child does the work and holds the write end of the FIFO.
TEST_F(CairnRun, ProgramsThatAnAgentHasStartedDieWithAKilledRun) {
    write_pipeline("sh -c 'touch working; sleep 1000' > fifo");
    const auto killed = run_shell(
        "mkfifo fifo; \"$CAIRN\" run p.yaml --run-id r1 > report 2>&1 & pid=$!\n"
        "until [ -p fifo ]; do :; done\n"
        "exec 3< fifo\n"
        "until [ -e working ]; do :; done\n"
        "kill -KILL $pid; cat <&3 > end; touch seen");
    EXPECT_TRUE(std::filesystem::exists(folder_ / "seen")) << killed.errors;
    EXPECT_EQ(only_run()["status"], "interrupted");
}

TEST_F(CairnRun, ASettingThatIsNotUtf8IsRefused) {
    write_pipeline();
    expect_error(run_demo({"--set", "a=\xFF"}), ErrorCode::kInvalidArgument, "it is not UTF-8");
}

}  // namespace
}  // namespace cairn::test
