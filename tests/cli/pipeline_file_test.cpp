// Goal: a pipeline's file means what docs/pipelines.md says. Every mistake in one is reported with its line and column
// before anything runs. No file can hang the reader or overflow its stack.
// Method: reads texts as files, and checks the place and the words of the error for every kind of mistake.

#include "pipeline_file/pipeline_file.h"
#include "support/source_files.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kHead = "name: p\nagents:\n  a: {command: [x]}\nsteps:\n";

PipelineFile read(const std::string& text) {
    auto file = parse_pipeline_file(text, "folder/p.yaml");
    EXPECT_TRUE(file) << file.error().to_string() << "\n" << text;
    return file ? *std::move(file) : PipelineFile{};
}

// Reads a pipeline whose steps begin in line 5.
PipelineFile read_steps(const std::string& steps) {
    return read(std::string(kHead) + steps);
}

Step only_step(const std::string& members) {
    const PipelineFile file = read_steps("  - {step: a, " + members + "}\n");
    return file.pipeline.stages.empty() ? Step{} : file.pipeline.stages[0].steps[0];
}

std::string error_of(const std::string& text) {
    const auto file = parse_pipeline_file(text, "p.yaml");
    EXPECT_FALSE(file) << "accepted:\n" << text;
    if (file) return "";
    EXPECT_EQ(file.error().code, ErrorCode::kInvalidArgument);
    return file.error().message;
}

std::string error_of_steps(const std::string& steps) {
    return error_of(std::string(kHead) + steps);
}

TEST(PipelineFileText, HasTheDefaultsThatAreDocumented) {
    const PipelineFile file = read("name: p\nagents:\n  scan: {command: [./scan, 1, true]}\nsteps:\n  - step: scan\n");
    EXPECT_EQ(file.pipeline.name, "p");
    const CommandOptions& agent = file.agents.at("scan");
    EXPECT_THAT(agent.command, ElementsAre("./scan", "1", "true"));
    EXPECT_EQ(agent.output, CommandOptions::Output::kState);
    EXPECT_TRUE(agent.environment.empty());
    EXPECT_EQ(agent.working_folder, std::filesystem::absolute("folder"));
    EXPECT_EQ(agent.output_bytes_max, 64ULL << 20U);
    EXPECT_EQ(agent.grace, std::chrono::seconds(2));

    ASSERT_EQ(file.pipeline.stages.size(), 1U);
    const Stage& stage = file.pipeline.stages[0];
    EXPECT_EQ(stage.on_conflict, MergePolicy::kFail);
    const Step& step = stage.steps[0];
    EXPECT_EQ(step.name, "scan");
    EXPECT_EQ(step.agent, "scan");
    EXPECT_EQ(step.with.text(), "{}");
    EXPECT_EQ(step.phase.name(), "");
    EXPECT_TRUE(step.when.empty());
    EXPECT_EQ(step.retry.attempts_max, 1);
    EXPECT_EQ(step.retry.backoff, std::chrono::milliseconds(200));
    EXPECT_EQ(step.retry.backoff_max, std::chrono::seconds(30));
    EXPECT_EQ(step.timeout.count(), 0);
    EXPECT_FALSE(step.may_fail);
}

TEST(PipelineFileText, TakesEveryMemberOfAnAgent) {
    const PipelineFile file = read(R"(
name: p
agents:
  a:
    command: [sh, -c, "echo {}"]
    output: merge_patch
    environment: {LANG: C, LEVEL: 3, EMPTY: ""}
    working_folder: ../elsewhere/./x
    output_limit: 10kB
    grace: 500ms
steps: [{step: s, agent: a}]
)");
    const CommandOptions& agent = file.agents.at("a");
    EXPECT_EQ(agent.output, CommandOptions::Output::kMergePatch);
    EXPECT_EQ(agent.environment, (std::map<std::string, std::string>{{"LANG", "C"}, {"LEVEL", "3"}, {"EMPTY", ""}}));
    EXPECT_EQ(agent.working_folder, std::filesystem::absolute("elsewhere/x"));
    EXPECT_EQ(agent.output_bytes_max, 10U << 10U);
    EXPECT_EQ(agent.grace, std::chrono::milliseconds(500));
}

TEST(PipelineFileText, NamesWhichVariablesAgentsGet) {
    const PipelineFile file = read(R"(
name: p
pass_environment: [PATH, HOME]
agents:
  a: {command: [x]}
  b: {command: [x], pass_environment: [KEY]}
  c: {command: [x], pass_environment: []}
steps: [{step: s, agent: a}]
)");
    using Names = std::set<std::string>;
    EXPECT_EQ(file.agents.at("a").pass_environment, (Names{"HOME", "PATH"}));
    EXPECT_EQ(file.agents.at("b").pass_environment, Names{"KEY"});
    EXPECT_EQ(file.agents.at("c").pass_environment, Names{});
    EXPECT_EQ(read_steps("  - {step: s, agent: a}\n").agents.at("a").pass_environment, std::nullopt);
}

TEST(PipelineFileText, TakesStepsThatWaitForAPersonAndLimitsOfGroups) {
    const PipelineFile file = read_steps(R"(
  - parallel: [{step: l, agent: a}, {step: r, agent: a}]
    at_once: 1
  - approve: publish
    phase: reporting
    when: {step: l}
)");
    EXPECT_EQ(file.pipeline.stages[0].at_once_max, 1U);
    const Step& step = file.pipeline.stages[1].steps[0];
    EXPECT_EQ(step.name, "publish");
    EXPECT_TRUE(step.needs_approval);
    EXPECT_EQ(step.agent, "");
    EXPECT_EQ(step.phase.name(), "reporting");
    EXPECT_EQ(step.when.steps.size(), 1U);
    EXPECT_EQ(file.place_of("publish"), "folder/p.yaml:8:14");
}

TEST(PipelineFileText, TakesEveryMemberOfAStepAndAGroup) {
    const PipelineFile file = read_steps(R"(
  - step: first
    agent: a
    phase: triage
    retry: {attempts: 3, backoff: 1s, backoff_max: 2m}
    timeout: 1h
    may_fail: true
  - parallel:
      - {step: l, agent: a}
      - {step: r, agent: a}
    on_conflict: last
  - parallel: [{step: only, agent: a}]
    on_conflict: {merger: append}
  - parallel: [{step: other, agent: a}]
    on_conflict: fail
)");
    const Step& first = file.pipeline.stages[0].steps[0];
    EXPECT_EQ(first.phase.name(), "triage");
    EXPECT_EQ(first.retry.attempts_max, 3);
    EXPECT_EQ(first.retry.backoff, std::chrono::seconds(1));
    EXPECT_EQ(first.retry.backoff_max, std::chrono::minutes(2));
    EXPECT_EQ(first.timeout, std::chrono::hours(1));
    EXPECT_TRUE(first.may_fail);
    ASSERT_EQ(file.pipeline.stages.size(), 4U);
    EXPECT_EQ(file.pipeline.stages[1].steps[1].name, "r");
    EXPECT_EQ(file.pipeline.stages[1].on_conflict, MergePolicy::kLast);
    EXPECT_EQ(file.pipeline.stages[2].on_conflict, MergePolicy::kMerger);
    EXPECT_EQ(file.pipeline.stages[2].merger, "append");
    EXPECT_EQ(file.pipeline.stages[3].on_conflict, MergePolicy::kFail);
    EXPECT_EQ(file.place_of("r"), "folder/p.yaml:14:16");
    EXPECT_EQ(file.place_of("nobody"), "folder/p.yaml");
}

TEST(PipelineFileText, WithIsTheJsonOfTheCoreSchema) {
    const std::vector<std::pair<std::string, std::string>> values{
        {"1", "1"},
        {"-0", "-0"},
        {"+7", "7"},
        {"007", "7"},
        {"1.50", "1.50"},
        {".5", "0.5"},
        {"-.5", "-0.5"},
        {"5.", "5.0"},
        {"1e3", "1e3"},
        {"1.5E+10", "1.5E+10"},
        {"12345678901234567890123", "12345678901234567890123"},
        {"0x1F", "31"},
        {"0o17", "15"},
        {"true", "true"},
        {"False", "false"},
        {"~", "null"},
        {"", "null"},
        {"null", "null"},
        {"yes", "\"yes\""},
        {"1_000", "\"1_000\""},
        {"1e", "\"1e\""},
        {"e5", "\"e5\""},
        {".", "\".\""},
        {"0x", "\"0x\""},
        {"0xG", "\"0xG\""},
        {"2026-11-23", "\"2026-11-23\""},
        {"1:30", "\"1:30\""},
        {"'1'", "\"1\""},
        {"\"true\"", "\"true\""},
        {"'it''s'", "\"it's\""},
        {"\"a\\n\\u00e9\\\"\"", "\"a\\né\\\"\""},
        {"[1, [], {}, {a: b}]", "[1,[],{},{\"a\":\"b\"}]"},
        {"{2: x, \"1\": y}", "{\"2\":\"x\",\"1\":\"y\"}"},
        {"|\n          two\n          lines", "\"two\\nlines\\n\""},
    };
    for (const auto& [yaml, json] : values) {
        const PipelineFile file = read_steps("  - step: a\n    with:\n      v: " + yaml + "\n");
        ASSERT_EQ(file.pipeline.stages.size(), 1U) << yaml;
        EXPECT_EQ(file.pipeline.stages[0].steps[0].with.text(), "{\"v\":" + json + "}") << yaml;
        EXPECT_TRUE(State::parse(file.pipeline.stages[0].steps[0].with.text())) << yaml;
    }
}

TEST(PipelineFileText, ConditionsAreReadAsTheyStand) {
    using enum Condition::Test;
    const Step one = only_step("when: {member: /risk/level, equals: high}");
    ASSERT_EQ(one.when.members.size(), 1U);
    EXPECT_EQ(one.when.members[0].pointer, "/risk/level");
    EXPECT_EQ(one.when.members[0].test, kEquals);
    EXPECT_THAT(one.when.members[0].values, ElementsAre("\"high\""));
    EXPECT_EQ(only_step("when: {member: /a, not_equals: 1.0}").when.members[0].test, kNotEquals);
    EXPECT_THAT(only_step("when: {member: /a, not_equals: 1.0}").when.members[0].values, ElementsAre("1.0"));
    EXPECT_THAT(only_step("when: {member: /a, in: [1, {b: 2}, x]}").when.members[0].values,
                ElementsAre("1", "{\"b\":2}", "\"x\""));
    EXPECT_EQ(only_step("when: {member: /a~1b, exists: true}").when.members[0].test, kExists);
    EXPECT_EQ(only_step("when: {member: '', exists: false}").when.members[0].test, kMissing);

    const PipelineFile file = read_steps(R"(
  - step: a
  - step: b
    agent: a
    when: [{step: a, is: failed}, {member: /x, exists: true}]
  - {step: c, agent: a, when: {step: b}}
)");
    const Condition& both = file.pipeline.stages[1].steps[0].when;
    ASSERT_EQ(both.steps.size(), 1U);
    EXPECT_EQ(both.steps[0].name, "a");
    EXPECT_EQ(both.steps[0].outcome, StepOutcome::kFailed);
    EXPECT_EQ(both.members.size(), 1U);
    EXPECT_EQ(file.pipeline.stages[2].steps[0].when.steps[0].outcome, StepOutcome::kCompleted);
}

struct Mistake {
    std::string steps;  ///< The text from line 5 on.
    std::string error;  ///< The message from the line's number on.
};

TEST(PipelineFileText, EveryMistakeInAStepIsToldWithLineAndColumn) {
    const std::vector<Mistake> mistakes{
        {"  - step: a\n    tiemout: 1s\n",
         "6:5: a step has no \"tiemout\": it accepts step, agent, phase, with, when, retry, timeout, may_fail"},
        {"  - agent: a\n", "5:5: a step needs \"step\""},
        {"  - step:\n", "5:5: \"step\" is nothing: give a name of 1 to 255 bytes without control characters"},
        {"  - step: [a]\n", "5:11: \"step\" is a list: give a name"},
        {"  - step: " + std::string(256, 'n') + "\n", "5:11: \"step\" is \"nnn"},
        {"  - just text\n",
         "5:5: a step is a map (step, agent, phase, with, when, retry, timeout, may_fail), not "
         "\"just text\""},
        {"  - step: b\n", "5:11: step \"b\": there is no agent \"b\"; there are: a"},
        {"  - step: a\n    agent: c\n", "6:12: step \"a\": there is no agent \"c\"; there are: a"},
        {"  - step: a\n  - step: a\n", "6:11: step \"a\": line 5 has a step of this name"},
        {"  - step: a\n    step: b\n", "6:5: \"step\" stands in this map twice"},
        {"  - step: a\n    timeout: 10\n",
         "6:14: step \"a\": \"timeout\" is \"10\": give a duration of at most 30 days: 500ms, 10s, 2m or 1h"},
        {"  - {step: a, timeout: -1s}\n", "5:24: step \"a\": \"timeout\" is \"-1s\": give a duration"},
        {"  - {step: a, timeout: 1.5s}\n", "5:24: step \"a\": \"timeout\" is \"1.5s\": give a duration"},
        {"  - {step: a, timeout: 99999999999999999999h}\n", "5:24: step \"a\": \"timeout\" is \"99999"},
        {"  - {step: a, timeout: 721h}\n", "5:24: step \"a\": \"timeout\" is \"721h\": give a duration"},
        {"  - step: a\n    retry: {attempts: 2, backoff: 1m}\n",
         "6:12: step \"a\": backoff is longer than backoff_max: they are 200ms and 30s unless given"},
        {"  - step: a\n    retry: {backoff_max: 100ms}\n", "6:12: step \"a\": backoff is longer than backoff_max"},
        {"  - {step: a, timeout: [1s]}\n", "5:24: step \"a\": \"timeout\" is a list: give a duration"},
        {"  - {step: a, may_fail: yes}\n", "5:25: step \"a\": \"may_fail\" is \"yes\": give true or false"},
        {"  - {step: a, may_fail: 'true'}\n", "5:25: step \"a\": \"may_fail\" is \"true\": give true or false"},
        {"  - {step: a, retry: 3}\n", "5:22: step \"a\": retry is a map (attempts, backoff, backoff_max), not \"3\""},
        {"  - {step: a, retry: {attempts: 0}}\n",
         "5:33: step \"a\": \"attempts\" is \"0\": give a whole number from "
         "1 to 1000"},
        {"  - {step: a, retry: {times: 2}}\n",
         "5:23: step \"a\": retry has no \"times\": it accepts attempts, "
         "backoff, backoff_max"},
        {"  - {step: a, phase: []}\n", "5:22: step \"a\": \"phase\" is a list: give a name"},
        {"  - {step: a, with: 5}\n", "5:21: step \"a\": \"with\" is \"5\": give a map"},
        {"  - {step: a, with: {v: .nan}}\n", "5:25: step \"a\": \".nan\" has no form in JSON"},
        {"  - {step: a, with: {v: -.Inf}}\n", "5:25: step \"a\": \"-.Inf\" has no form in JSON"},
        {"  - {step: a, with: {v: 0xFFFFFFFFFFFFFFFFF}}\n", "5:25: step \"a\": \"0xFFFFFFFFFFFFFFFFF\" is more than"},
        {"  - {step: a, with: {<<: {b: 1}}}\n", "5:22: step \"a\": a merge key (<<): they are not accepted"},
        {"  - {step: a, with: {b: 1, \"b\": 2}}\n", "5:28: \"b\" stands in this map twice"},
        {"  - {step: a, with: {[b]: 1}}\n", "5:22: a key that is no text"},
        {"  - {step: a, with: &x {b: 1}}\n", "5:21: an anchor (&x): they are not accepted"},
        {"  - {step: a, with: *x}\n", "5:21: an alias (*): they are not accepted, write the value out"},
        {"  - {step: a, with: {b: !!str 1}}\n", "5:25: a tag (tag:yaml.org,2002:str): they are not accepted"},
        {"  - {step: a, when: yes}\n",
         "5:21: step \"a\": a condition is a map (member, equals, not_equals, in, "
         "exists), not \"yes\""},
        {"  - {step: a, when: []}\n", "5:21: step \"a\": \"when\" is a list: give a list with one item or more"},
        {"  - {step: a, when: {member: risk, equals: 1}}\n",
         "5:30: step \"a\": \"member\" is \"risk\": give a JSON "
         "Pointer"},
        {"  - {step: a, when: {member: /a~2, equals: 1}}\n", "5:30: step \"a\": \"member\" is \"/a~2\": give a JSON"},
        {"  - {step: a, when: {member: /a}}\n",
         "5:21: step \"a\": a condition has one of equals, not_equals, in, "
         "exists"},
        {"  - {step: a, when: {member: /a, equals: 1, exists: true}}\n", "5:21: step \"a\": a condition has one of"},
        {"  - {step: a, when: {equals: 1}}\n", "5:21: step \"a\": a condition needs \"member\""},
        {"  - {step: a, when: {member: /a, in: 1}}\n", "5:38: step \"a\": \"in\" is \"1\": give a list"},
        {"  - {step: a, when: {member: /a, exists: 1}}\n", "5:42: step \"a\": \"exists\" is \"1\": give true or false"},
        {"  - {step: a, when: {member: /a, is: completed}}\n", "5:34: step \"a\": a condition has no \"is\""},
        {"  - {step: a, when: {step: b, is: done}}\n",
         "5:35: step \"a\": \"is\" is \"done\": give completed, skipped "
         "or failed"},
        {"  - step: a\n    when: {step: b}\n", "6:11: step \"a\": it waits for \"b\", and there is no such step"},
        {"  - step: a\n    when: {step: b}\n  - {step: b, agent: a}\n",
         "6:11: step \"a\": it waits for \"b\", which does not come before it"},
        {"  - step: a\n    when: {step: a}\n", "6:11: step \"a\": a circle of conditions: a -> a"},
        {"  - {step: a, when: {step: b}}\n  - {step: b, agent: a, when: {step: c}}\n"
         "  - {step: c, agent: a, when: {step: a}}\n",
         "5:21: step \"a\": a circle of conditions: a -> b -> c -> a"},
        {"  - parallel:\n      - step: a\n      - {step: b, agent: a, when: {step: a}}\n",
         "7:35: step \"b\": it waits for \"a\", which does not come before it"},
        {"  - parallel: []\n", "5:15: \"parallel\" is a list: give a list with one item or more"},
        {"  - parallel: {step: a}\n", "5:15: \"parallel\" is a map: give a list"},
        {"  - on_conflict: last\n", "5:5: a parallel group needs \"parallel\""},
        {"  - parallel: [{parallel: []}]\n", "5:17: a step has no \"parallel\""},
        {"  - parallel: [{step: a}]\n    timeout: 1s\n",
         "6:5: a parallel group has no \"timeout\": it accepts "
         "parallel, on_conflict, at_once"},
        {"  - parallel: [{step: a}]\n    at_once: 0\n", "6:14: \"at_once\" is"},
        {"  - parallel: [{step: a}, {approve: b}]\n", "5:27: an approve step stands alone, not in a group"},
        {"  - {approve: b, agent: a}\n", "5:18: an approve step has no \"agent\": it accepts approve, phase, when"},
        {"  - {step: b, agent: a}\n  - approve: b\n", "6:14: step \"b\": line 5 has a step of this name"},
        {"  - parallel: [{step: a}]\n    on_conflict: first\n",
         "6:18: \"on_conflict\" is \"first\": give fail, last, {merger: append} or {merger: merge}"},
        {"  - parallel: [{step: a}]\n    on_conflict: {merger: sum}\n",
         "6:27: \"merger\" is \"sum\": give append or "
         "merge"},
        {"  - parallel: [{step: a}]\n    on_conflict: {with: sum}\n",
         "6:19: on_conflict has no \"with\": it accepts "
         "merger"},
    };
    for (const Mistake& mistake : mistakes) {
        EXPECT_THAT(error_of_steps(mistake.steps), StartsWith("p.yaml:" + mistake.error)) << mistake.steps;
    }
}

TEST(PipelineFileText, EveryMistakeAroundTheStepsIsToldWithLineAndColumn) {
    const std::string agent = "name: p\nsteps: [{step: a}]\nagents:\n  a:\n";
    const std::vector<std::pair<std::string, std::string>> mistakes{
        {"", "1:1: a pipeline is a map (name, agents, pass_environment, steps), not nothing"},
        {"# nothing\n", "1:1: a pipeline is a map"},
        {"- a\n", "1:1: a pipeline is a map (name, agents, pass_environment, steps), not a list"},
        {"agents: {}\nsteps: []\n", "1:1: a pipeline needs \"name\""},
        {"name: p\nsteps: []\n", "1:1: a pipeline needs \"agents\""},
        {"name: p\nagents: {}\n", "1:1: a pipeline needs \"steps\""},
        {"name: p\nagents: {}\nsteps: []\n", "3:8: \"steps\" is a list: give a list with one item or more"},
        {"name: p\nagents: {}\nsteps:\n", "3:1: \"steps\" is nothing: give a list"},
        {"name: p\nagents: {}\nsteps: [{step: a}]\n", "3:16: step \"a\": there is no agent \"a\"; there are: none"},
        {"name: p\nagents: []\nsteps: []\n", "2:9: \"agents\" is a list: give a map of names and agents"},
        {"name: p\nstages: []\n",
         "2:1: a pipeline has no \"stages\": it accepts name, agents, pass_environment, steps"},
        {agent,
         "4:3: agent \"a\": an agent is a map (command, output, environment, pass_environment, working_folder, "
         "output_limit, grace), not nothing"},
        {agent + "    output: state\n", "5:5: agent \"a\": an agent needs \"command\""},
        {agent + "    command: ls -l\n",
         "5:14: agent \"a\": \"command\" is \"ls -l\": give a list of the program and "
         "its arguments"},
        {agent + "    command: []\n", "5:14: agent \"a\": \"command\" is a list: give a list of the program"},
        {agent + "    command: [x, [y]]\n", "5:18: agent \"a\": \"command\" is a list: give text for every word"},
        {agent + "    command: ['']\n", "5:15: agent \"a\": \"command\" is \"\": give text"},
        {agent + "    command: [x]\n    output: patch\n",
         "6:13: agent \"a\": \"output\" is \"patch\": give state or "
         "merge_patch"},
        {agent + "    command: [x]\n    environment: [A]\n", "6:18: agent \"a\": \"environment\" is a list"},
        {agent + "    command: [x]\n    environment: {A=B: 1}\n",
         "6:19: agent \"a\": \"A=B\" is no name of a variable"},
        {agent + "    command: [x]\n    environment: {A: [1]}\n", "6:22: agent \"a\": \"A\" is a list: give text"},
        {agent + "    command: [x]\n    output_limit: 0\n",
         "6:19: agent \"a\": \"output_limit\" is \"0\": give a size"},
        {agent + "    command: [x]\n    output_limit: 5TB\n", "6:19: agent \"a\": \"output_limit\" is \"5TB\": give"},
        {agent + "    command: [x]\n    grace: soon\n", "6:12: agent \"a\": \"grace\" is \"soon\": give a duration"},
        {agent + "    command: [x]\n    shell: true\n", "6:5: agent \"a\": an agent has no \"shell\": it accepts"},
        {agent + "    command: [x]\n    working_folder: []\n", "6:21: agent \"a\": \"working_folder\" is a list"},
        {"name: p\n---\nname: q\n", "2:1: a second document: a file holds one"},
        {"name: p\nagents:\n\ta: {command: [x]}\n", "3:1: a tab in the indentation: YAML wants spaces there"},
        {"name: p\nagents:\n  a:\n  \tcommand: [x]\n", "4:3: a tab in the indentation: YAML wants spaces there"},
        {"name: p\n  agents: {}\n", "2:9: a \":\" where no value can begin: look at the indentation"},
        {"name: [p\n", "2:1: a list that begins with [ and is not closed where it should be"},
        {"name: {p: 1\n", "2:1: a map that begins with { and is not closed where it should be"},
        {"name: \"p\nsteps: []\n", "1:7: a string that begins with \" and never ends"},
        {"name: 'it''s\nsteps: []\n", "1:7: a string that begins with ' and never ends"},
        {"name: @p\n", "1:7: a character that no plain text begins with: quote it"},
        {"name: p\nx: \xFF\n", "2:1: this line is not UTF-8"},
        {"name: p\n# \x04\nx: y\n", "2:3: a control character (byte 0x04)"},
        {std::string("name: p\nx: \0y\n", 13), "2:4: a control character (byte 0x00)"},
    };
    for (const auto& [text, error] : mistakes) {
        EXPECT_THAT(error_of(text), StartsWith("p.yaml:" + error)) << text;
    }
}

TEST(PipelineFileText, WindowsLineEndsAndAByteOrderMarkAreFine) {
    const PipelineFile file =
        read("\xEF\xBB\xBFname: p\r\nagents:\r\n  a: {command: [x]}\r\nsteps:\r\n  - step: a\r\n");
    EXPECT_EQ(file.pipeline.name, "p");
    EXPECT_EQ(file.agents.at("a").command, std::vector<std::string>{"x"});
    EXPECT_EQ(file.place_of("a"), "folder/p.yaml:5:11");
}

std::string repeated(std::string_view part, std::size_t times) {
    std::string text;
    for (std::size_t i = 0; i < times; ++i) text += part;
    return text;
}

TEST(PipelineFileText, BombsAreRefusedAndCostNoMoreThanTheirSize) {
    for (const char* part : {"[", "{", "{a: ", "- ", "? ", "[\n", "[\""}) {
        const std::string error = error_of("name: " + repeated(part, 100'000));
        EXPECT_THAT(error, StartsWith("p.yaml:")) << part;
    }
    EXPECT_THAT(error_of("name: " + repeated("[", 100'000)), HasSubstr("nested deeper than 100 levels"));
    EXPECT_THAT(error_of("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"), HasSubstr("p.yaml:1:4: an anchor (&a)"));

    std::string steps;
    for (int i = 0; i < 10'001; ++i) steps += fmt::format("  - {{step: s{}, agent: a}}\n", i);
    EXPECT_THAT(error_of_steps(steps), HasSubstr("10005:12: step \"s10000\": a pipeline has at most 10000 steps"));
}

TEST(PipelineFileText, LongChainsOfConditionsCostNoStack) {
    std::string steps = "  - {step: s0, agent: a, when: {step: s9999}}\n";
    for (int i = 1; i < 10'000; ++i)
        steps += fmt::format("  - {{step: s{}, agent: a, when: {{step: s{}}}}}\n", i, i - 1);
    EXPECT_THAT(error_of_steps(steps), HasSubstr("5:32: step \"s0\": a circle of conditions: s0 -> s9999 -> s9998"));
}

TEST(PipelineFileOnDisk, MustBeThereAndOfABearableSize) {
    const TempDir folder;
    const std::string path = (folder / "p.yaml").string();
    EXPECT_EQ(read_pipeline_file(path).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(read_pipeline_file(folder.path().string()).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(read_pipeline_file("-").error().code, ErrorCode::kInvalidArgument);
    std::ofstream(path) << std::string(kHead) << "  - step: a\n" << std::string(1U << 20U, '#');
    const auto large = read_pipeline_file(path);
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(large.error().message, HasSubstr("p.yaml:1:1: the file has more than 1048576 bytes"));
}

// These pages show whole files.
TEST(PipelineFileOnDisk, TheDocumentsExamplesAreSome) {
    for (const char* page : {"README.md", "docs/pipelines.md"}) {
        const std::string document = read_file(project_path(page));
        const auto begin = document.find("```yaml\n") + 8;
        const std::string text = document.substr(begin, document.find("```", begin) - begin);
        EXPECT_GE(read(text).pipeline.stages.size(), 2U) << page;
    }
}

}  // namespace
}  // namespace cairn::test
