// Goal: a replay saves every token of a recording, in its order, and nothing of a broken file.
// Method: small lines written by hand, one for each rule; random texts through the token shield and a JSON library.
// If the public trajectories are there, their states are compared with those of the script that comes with them.

#include "replay/tokens.h"
#include "replay/trajectory.h"
#include "support/paths.h"
#include "support/run_program.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string line_with(std::string_view base_state, std::string_view steps) {
    return fmt::format(R"({{"run_id":"r","thread_id":"t","user_id":"u","base_state":{},"steps":[{}]}})", base_state,
                       steps);
}

std::string step_with(std::string_view patch) {
    return fmt::format(R"({{"agent_phase":"act","checkpoint_type":"auto","patch":[{}]}})", patch);
}

/// Returns the state after one patch, or the error's message.
std::string patched(std::string_view base_state, std::string_view patch) {
    const auto run = expand_run(line_with(base_state, step_with(patch)));
    return run ? std::string(run->steps.back().state.text()) : run.error().message;
}

/// Reads and prints the text with the JSON library, as a replay does.
std::string through_library(std::string_view text) {
    const auto shielded = shield_tokens(text, 100);
    return shielded ? restore_tokens(nlohmann::ordered_json::parse(*shielded).dump()) : shielded.error().message;
}

TEST(ReplayTrajectory, EveryStepBecomesAWholeState) {
    const auto run = expand_run(line_with(
        R"({ "b" : 1, "a" : [ ] })",
        R"({"agent_phase":"plan","checkpoint_type":"manual","patch":[{"op":"add","path":"/a/-","value":{"z":1,"y":2}}]},)"
        R"({"agent_phase":"act","patch":[{"op":"replace","path":"/b","value":2}]})"));
    ASSERT_TRUE(run) << run.error().message;
    EXPECT_EQ(run->run_id, "r");
    EXPECT_EQ(run->thread_id, "t");
    EXPECT_EQ(run->user_id, "u");
    ASSERT_EQ(run->steps.size(), 3U);
    EXPECT_EQ(run->steps[0].state.text(), R"({"b":1,"a":[]})");
    EXPECT_EQ(run->steps[0].agent_phase.name(), "init");
    EXPECT_EQ(run->steps[0].checkpoint_type.name(), "auto");
    EXPECT_EQ(run->steps[1].state.text(), R"({"b":1,"a":[{"z":1,"y":2}]})");
    EXPECT_EQ(run->steps[1].agent_phase.name(), "plan");
    EXPECT_EQ(run->steps[1].checkpoint_type.name(), "manual");
    EXPECT_EQ(run->steps[2].state.text(), R"({"b":2,"a":[{"z":1,"y":2}]})");
    EXPECT_EQ(run->steps[2].checkpoint_type.name(), "auto") << "the documented default";
}

TEST(ReplayTrajectory, EveryOperationOfAPatchKeepsTheOrderOfKeys) {
    const std::string_view base = R"({"c":[1,2,3],"b":{"y":0,"x":1},"a":"s"})";
    EXPECT_EQ(patched(base, R"({"op":"add","path":"/b/k","value":2})"),
              R"({"c":[1,2,3],"b":{"y":0,"x":1,"k":2},"a":"s"})");
    EXPECT_EQ(patched(base, R"({"op":"add","path":"/c","value":7})"), R"({"c":7,"b":{"y":0,"x":1},"a":"s"})");
    EXPECT_EQ(patched(base, R"({"op":"add","path":"/c/1","value":9})"), R"({"c":[1,9,2,3],"b":{"y":0,"x":1},"a":"s"})");
    EXPECT_EQ(patched(base, R"({"op":"remove","path":"/b"})"), R"({"c":[1,2,3],"a":"s"})");
    EXPECT_EQ(patched(base, R"({"op":"remove","path":"/c/0"})"), R"({"c":[2,3],"b":{"y":0,"x":1},"a":"s"})");
    EXPECT_EQ(patched(base, R"({"op":"replace","path":"/b","value":[]})"), R"({"c":[1,2,3],"b":[],"a":"s"})");
    EXPECT_EQ(patched(base, R"({"op":"replace","path":"","value":{"n":1}})"), R"({"n":1})");
    EXPECT_EQ(patched(base, R"({"op":"move","from":"/b/y","path":"/d"})"),
              R"({"c":[1,2,3],"b":{"x":1},"a":"s","d":0})");
    EXPECT_EQ(patched(base, R"({"op":"copy","from":"/c/2","path":"/c/0"})"),
              R"({"c":[3,1,2,3],"b":{"y":0,"x":1},"a":"s"})");
    EXPECT_EQ(patched(base, R"({"op":"test","path":"/b","value":{"x":1,"y":0}})"), base) << "keys in another order";
    EXPECT_EQ(patched(R"({"m/n":{"~":1}})", R"({"op":"replace","path":"/m~1n/~0","value":2})"), R"({"m/n":{"~":2}})");
}

TEST(ReplayTrajectory, TokensThatALibraryChangesStayAsWritten) {
    for (const std::string_view number :
         {"0", "-0", "-1", "1.0", "-0.0", "1.50", "1e5", "1E+05", "0.1000000000000000055", "123456789012345678",
          "1234567890123456789012345678901234567890", "1e999"}) {
        const std::string state = fmt::format(R"({{"n":{0},"l":[{0},{0}]}})", number);
        EXPECT_EQ(patched(R"({"n":0})", fmt::format(R"({{"op":"replace","path":"","value":{}}})", state)), state);
    }
    const std::string_view surrogates = R"({"\udc00":"\ud800x\udfff\ud83d","n":"\u0000"})";
    EXPECT_EQ(patched(surrogates, ""), surrogates);
    EXPECT_EQ(patched(surrogates, R"({"op":"replace","path":"/\udc00","value":"\uD83D\\uDE00"})"),
              R"({"\udc00":"\ud83d\\uDE00","n":"\u0000"})");
    EXPECT_EQ(patched(R"({"smile":"\uD83D\ude00"})", ""), "{\"smile\":\"\xF0\x9F\x98\x80\"}")
        << "a pair is a character";
}

TEST(ReplayTrajectory, PrivateCodePointsOfTheShieldAreLeftAloneInStates) {
    const std::string_view raw =
        "{\"\xF4\x8F\x80\x80\":\"\xF4\x8F\x9F\xBF \xF4\x8F\xA0\x80"
        "1 \xF4\x8F\xA0\x81 \xF4\x8F\xA0\x82 \xF4\x8F\xBF\xBF\"}";
    EXPECT_EQ(patched(raw, ""), raw);
    EXPECT_EQ(patched(R"({"a":"\udbfc\udc00\udbfe\udc01"})", ""), "{\"a\":\"\xF4\x8F\x80\x80\xF4\x8F\xA0\x81\"}");
}

/// Makes a compact JSON text whose tokens are already printed the shortest way.
std::string random_json(std::mt19937& random, int depth) {
    static constexpr std::array<std::string_view, 16> kCharacters = {
        "a",        R"(\")", R"(\\)", R"(\u0000)",        R"(\ud800)",        R"(\udfff)",        R"(\n)",
        "\xC3\xA9", "1.50",  "{",     "\xF4\x8F\x80\x80", "\xF4\x8F\xA0\x80", "\xF4\x8F\xA0\x81", "\xF4\x80\x80\x80",
        ":",        "]"};
    static constexpr std::array<std::string_view, 8> kScalars = {"0",    "-0",   "1.50", "9007199254740993",
                                                                 "1e-7", "true", "null", "99999999999999999999"};
    const auto below = [&](std::size_t bound) { return random() % bound; };
    const auto text = [&] {
        std::string out;
        for (std::size_t left = below(5); left > 0; --left) {
            const std::string_view next = kCharacters[below(kCharacters.size())];
            // A high surrogate escape before a low one would be a pair: one character, and no longer two escapes.
            if (out.ends_with(R"(\ud800)") && next == R"(\udfff)") continue;
            out += next;
        }
        return '"' + out + '"';
    };
    const std::size_t kind = below(depth > 0 ? 4 : 2);
    if (kind == 0) return std::string(kScalars[below(kScalars.size())]);
    if (kind == 1) return text();
    std::string out;
    for (std::size_t index = 0, count = below(4); index < count; ++index) {
        if (index > 0) out += ',';
        if (kind == 3) out += fmt::format("\"{}\":", index);  // the library would drop duplicate keys
        out += random_json(random, depth - 1);
    }
    return kind == 2 ? '[' + out + ']' : '{' + out + '}';
}

TEST(ReplayTrajectory, RandomTextsComeOutOfTheLibraryAsTheyWentIn) {
    for (unsigned seed = 0; seed < 5000; ++seed) {
        std::mt19937 random(seed);
        const std::string text = random_json(random, 4);
        ASSERT_EQ(through_library(text), text) << "random_json with seed " << seed;
    }
}

TEST(ReplayTrajectory, BrokenLineNamesStepAndOperation) {
    const std::string_view base = R"({"a":[1],"s":"x"})";
    const auto step = [&](std::string_view operation) { return patched(base, operation); };
    EXPECT_THAT(step(R"({"op":"remove","path":"/a/0"},{"op":"replace","path":"/q","value":1})"),
                HasSubstr("step 1: operation 2 (replace /q): its path, or a member of the operation, is not there"));
    EXPECT_THAT(step(R"({"op":"add","path":"/a/5","value":1})"), HasSubstr("index of its path is out of range"));
    EXPECT_THAT(step(R"({"op":"add","path":"/s/t","value":1})"), HasSubstr("neither object nor array"));
    EXPECT_THAT(step(R"({"op":"move","from":"/a","path":"/s/t"})"), HasSubstr("neither object nor array"));
    EXPECT_THAT(step(R"({"op":"merge","path":"/a"})"), HasSubstr("operation 1 (merge /a): its op is unknown"));
    EXPECT_THAT(step(R"({"op":"add","path":"/a/-"})"), HasSubstr("member is missing"));
    EXPECT_THAT(step(R"({"op":"remove","path":"a"})"), HasSubstr("its path is not a JSON pointer"));
    EXPECT_THAT(step("7"), HasSubstr("step 1: operation 1: "));
    EXPECT_THAT(step(R"({"op":"replace","path":"","value":[1]})"), HasSubstr("step 1: "));
}

TEST(ReplayTrajectory, BrokenLineIsAnInvalidState) {
    struct Case {
        std::string line;
        std::string_view message;
    };
    const std::vector<Case> cases = {
        {R"({"run_id":"r")", "not a JSON text"},
        {"[]", "not a JSON object"},
        {R"({"run_id":"r","thread_id":"t","user_id":"u","steps":[]})", R"("base_state" is missing)"},
        {R"({"run_id":"r","thread_id":"t","user_id":"u","base_state":{}})", R"("steps" is not an array)"},
        {R"({"run_id":7,"thread_id":"t","user_id":"u","base_state":{},"steps":[]})", R"("run_id" is not a string)"},
        {R"({"thread_id":"t","user_id":"u","base_state":{},"steps":[]})", R"("run_id" is missing)"},
        {R"({"run_id":"r","thread_id":"t","user_id":"u","base_state":{},"steps":[],"n_steps":2})", R"("n_steps" says)"},
        {line_with("{}", R"({"patch":[]})"), R"(step 1: member "agent_phase" is missing)"},
        {line_with("{}", R"({"agent_phase":"a"})"), R"(step 1: member "patch" is not an array)"},
        {line_with("{}", R"({"agent_phase":"a","checkpoint_type":1,"patch":[]})"), R"("checkpoint_type" is not a)"},
        {line_with("{}", "1"), "step 1: not an object"},
        {line_with("[]", ""), "base_state: "},
    };
    for (const Case& broken : cases) {
        const auto run = expand_run(broken.line);
        ASSERT_FALSE(run) << broken.line;
        EXPECT_EQ(run.error().code, ErrorCode::kInvalidState) << broken.line;
        EXPECT_THAT(run.error().message, HasSubstr(broken.message));
    }
}

TEST(ReplayTrajectory, MessageOfAFailedTestHoldsNothingOfTheState) {
    const std::string message = patched(R"({"a":"secret one"})", R"({"op":"test","path":"/a","value":"secret two"})");
    EXPECT_THAT(message, HasSubstr("the test failed"));
    EXPECT_THAT(message, Not(HasSubstr("secret")));
}

TEST(ReplayTrajectory, TooDeepOrTooLargeIsALimitNotACrash) {
    const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
    const auto nested = expand_run(line_with(fmt::format(R"({{"a":{}}})", deep), ""));
    ASSERT_FALSE(nested);
    EXPECT_EQ(nested.error().code, ErrorCode::kLimitExceeded);

    const auto large = expand_run(line_with(R"({"a":"0123456789"})", ""), {.bytes_max = 10});
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(large.error().message, HasSubstr("base_state: "));
}

void write_file(const std::filesystem::path& path, std::string_view text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
}

TEST(ReplayTrajectory, FoldersGiveTheirFilesSortedAndFilesStandAsGiven) {
    const test::TempDir folder;
    for (const char* name : {"b.jsonl", "a.jsonl", "notes.txt", "sub/c.jsonl"}) write_file(folder / name, "");
    const auto files = find_trajectory_files({(folder / "notes.txt").string(), folder.path().string()});
    ASSERT_TRUE(files) << files.error().message;
    EXPECT_THAT(*files, testing::ElementsAre(folder / "notes.txt", folder / "a.jsonl", folder / "b.jsonl",
                                             folder / "sub/c.jsonl"));
}

TEST(ReplayTrajectory, MissingPathAndEmptyFolderAreNotFound) {
    const test::TempDir folder;
    for (const std::filesystem::path& path : {folder.path(), folder / "missing"}) {
        const auto files = find_trajectory_files({path.string()});
        ASSERT_FALSE(files);
        EXPECT_EQ(files.error().code, ErrorCode::kNotFound);
        EXPECT_THAT(files.error().message, HasSubstr(path.string()));
    }
}

TEST(ReplayTrajectory, BlankLinesAreSkippedAndErrorsNameFileAndLine) {
    const test::TempDir folder;
    write_file(folder / "runs.jsonl", line_with("{}", "") + "\r\n\n" + line_with("{}", "") + "\n{\n");
    const auto all = expand_trajectories({folder / "runs.jsonl"});
    ASSERT_FALSE(all);
    EXPECT_EQ(all.error().code, ErrorCode::kInvalidState);
    EXPECT_THAT(all.error().message, HasSubstr("runs.jsonl"));
    EXPECT_THAT(all.error().message, HasSubstr("line 4: not a JSON text"));

    const auto first_two = expand_trajectories({folder / "runs.jsonl"}, {.runs_max = 2});
    ASSERT_TRUE(first_two) << first_two.error().message;
    EXPECT_EQ(first_two->size(), 2U);
}

TEST(ReplayTrajectory, StatesAreThoseOfTheScriptBesideTheTrajectories) {
    const auto folder = test::source_dir() / "../shared/trajectories";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no trajectories at " << folder;
    const std::string file = (folder / "swe_agent.jsonl").string();
    constexpr auto kPrintStates =
        "import sys, json; sys.path.insert(0, sys.argv[1]); import expand\n"
        "for run in expand.iter_runs(sys.argv[2:]):\n"
        "    for record in expand.iter_states(run):\n"
        "        text = json.dumps(record['state'], ensure_ascii=False, separators=(',', ':'))\n"
        "        sys.stdout.buffer.write(text.encode() + b'\\n')\n";
    const test::ProgramResult script = test::run_program("python3", {"-c", kPrintStates, folder.string(), file});
    ASSERT_EQ(script.exit_code, 0) << script.errors;

    const auto runs = expand_trajectories({file});
    ASSERT_TRUE(runs) << runs.error().message;
    std::string states;
    for (const TrajectoryRun& run : *runs) {
        for (const TrajectoryStep& step : run.steps) (states += step.state.text()) += '\n';
    }
    EXPECT_TRUE(states == script.output) << "the states differ";  // too long to print
}

}  // namespace
}  // namespace cairn
