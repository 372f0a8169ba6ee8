// Goal: every command of the program does what its help says, on good and on bad input, for people and for machines.
// Method: runs the built program as a child in a folder of its own, as a user would, one store a test. JSON output is
// read by nlohmann::json and its members are compared by name and order: that shape is an interface.

#include "support/run_program.h"
#include "support/temp_dir.h"

#include <cairn/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

using Json = nlohmann::ordered_json;
using Environment = std::map<std::string, std::string>;

int exit_code_of(ErrorCode code) {
    return error_info(code).exit_code;
}

std::vector<std::string> keys_of(const Json& object) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    return keys;
}

std::vector<std::string> operator+(std::vector<std::string> left, const std::vector<std::string>& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

class Cairn : public ::testing::Test {
protected:
    const Environment kOptimised{{"ENABLE_OPTIMIZED_PERSISTENCE", "true"}};

    ProgramResult run(const std::vector<std::string>& arguments, std::string_view input = {},
                      const Environment& environment = {}) {
        return run_cairn(arguments,
                         {.standard_input = input, .environment = environment, .working_folder = folder_.path()});
    }

    ProgramResult run_shell(const std::string& script) {
        return run_program("/bin/sh", {"-c", script},
                           {.environment = {{"CAIRN", CAIRN_PROGRAM}}, .working_folder = folder_.path()});
    }

    ProgramResult save(std::string_view state, const std::vector<std::string>& more = {},
                       const Environment& environment = {}) {
        return run(std::vector<std::string>{"save", "--run", "r1", "--thread", "t1", "--user", "u1"} + more, state,
                   environment);
    }

    // A save that must work; its receipt.
    Json saved(std::string_view state, const std::vector<std::string>& more = {}, const Environment& environment = {}) {
        return parsed(save(state, std::vector<std::string>{"--json"} + more, environment));
    }

    static Json parsed(const ProgramResult& result) {
        EXPECT_EQ(result.exit_code, 0) << result.errors;
        EXPECT_THAT(result.errors, IsEmpty());
        return Json::parse(result.output, nullptr, false);
    }

    // Of standard error: what was logged stands before it.
    static std::string last_line_of(const std::string& text) {
        const auto end = text.empty() ? std::string::npos : text.rfind('\n', text.size() - 2);
        return end == std::string::npos ? text : text.substr(end + 1);
    }

    // The error object.
    static Json error_of(const ProgramResult& result) {
        EXPECT_THAT(result.output, IsEmpty());
        const Json object = Json::parse(last_line_of(result.errors), nullptr, false);
        EXPECT_THAT(keys_of(object), ElementsAre("error")) << result.errors;
        EXPECT_THAT(keys_of(object.value("error", Json())), ElementsAre("code", "message", "detail", "advice"));
        return object.value("error", Json());
    }

    static void expect_error(const ProgramResult& result, ErrorCode code, const std::string& words) {
        EXPECT_EQ(result.exit_code, exit_code_of(code)) << result.errors;
        EXPECT_THAT(result.output, IsEmpty());
        const std::string error = last_line_of(result.errors);
        EXPECT_THAT(error, StartsWith("cairn: " + std::string(error_info(code).name) + ": "));
        EXPECT_THAT(error, HasSubstr(words));
    }

    void write(const std::string& name, std::string_view bytes) const {
        std::ofstream(folder_ / name, std::ios::binary) << bytes;
    }

    std::string read(const std::string& name) const {
        std::stringstream text;
        text << std::ifstream(folder_ / name, std::ios::binary).rdbuf();
        return text.str();
    }

    Json log(const std::vector<std::string>& more = {}) {
        return parsed(run(std::vector<std::string>{"log", "--run", "r1", "--json"} + more));
    }

    // Damages the stored text of every snapshot that contains `marker`, on the disk.
    void damage(const std::string& marker) const {
        std::string bytes = read("cairn.db");
        for (auto at = bytes.find(marker); at != std::string::npos; at = bytes.find(marker, at + 1)) bytes[at] ^= 1;
        write("cairn.db", bytes);
    }

    TempDir folder_;
};

TEST_F(Cairn, AloneOrAskedForHelpPrintsHelpAndSucceeds) {
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{}, {"--help"}}) {
        const auto result = run(arguments);
        EXPECT_EQ(result.exit_code, 0);
        EXPECT_THAT(result.output, AllOf(HasSubstr("Usage: cairn"), HasSubstr("recover"), HasSubstr("Examples:"),
                                         HasSubstr("6 not_found")));
    }
}

TEST_F(Cairn, EveryCommandsHelpEndsWithExamples) {
    for (const char* command :
         {"save", "load", "log", "runs", "diff", "recover", "stats", "check", "config", "replay"}) {
        const auto result = run({command, "--help"});
        EXPECT_EQ(result.exit_code, 0);
        EXPECT_THAT(result.output, AllOf(HasSubstr("--store"), HasSubstr("--json"))) << command;
        const auto examples = result.output.rfind("Examples:\n");
        ASSERT_NE(examples, std::string::npos) << command;
        EXPECT_THAT(result.output.substr(examples), HasSubstr(std::string("cairn ") + command));
    }
}

TEST_F(Cairn, SaysItsVersion) {
    const auto result = run({"--version"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.output, MatchesRegex("cairn [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(Cairn, AWrongCommandLineIsAUsageErrorWithAHint) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
        {{"bogus"}, "`cairn --help`"},
        {{"stats", "--bogus"}, "--bogus; `cairn stats --help`"},
        {{"stats", "extra"}, "`cairn stats --help`"},
        {{"load"}, "--run is required; `cairn load --help`"},
        {{"save", "--run", "r1"}, "is required"},
        {{"log", "--run", "r1", "--limit", "-1"}, "\"-1\" is not a whole number"},
        {{"log", "--run", "r1", "--limit", "0x10"}, "not a whole number"},
        {{"log", "--run", "r1", "--limit", "010"}, "not a whole number"},
        {{"log", "--run", "r1", "--limit", "99999999999999999999"}, "not a whole number"},
        {{"log", "--run", "r1", "--since", "yesterday"}, "--since: time \"yesterday\""},
        {{"log", "--run", "r1", "--run", "r2"}, "--run"},
        {{"recover", "--run", "r1", "--type", "undo"}, "undo"},
        {{"recover", "--run", "r1"}, "--type is required"},
        {{"diff", "--run", "r1", "1", "2", "3"}, "`cairn diff --help`"},
        {{"runs", "--context"}, "--context needs --thread"},
        {{"runs", "--threads", "--thread", "t1"}, "--threads"},
    };
    for (const auto& [arguments, words] : cases) {
        const auto result = run(arguments);
        expect_error(result, ErrorCode::kInvalidArgument, words);
        EXPECT_EQ(result.exit_code, 2);
    }
}

TEST_F(Cairn, WithJsonErrorsAreObjectsOnStandardError) {
    const Json usage = error_of(run({"load", "--json"}));
    EXPECT_EQ(usage["code"], "invalid_argument");
    const Json absent = error_of(run({"--json", "load", "--run", "r1"}));
    EXPECT_EQ(absent["code"], "not_found");
    EXPECT_EQ(absent["advice"], error_info(ErrorCode::kNotFound).advice);
    saved("{}");
    const auto logged = run({"recover", "--run", "r9", "--type", "resume", "--json"});
    EXPECT_EQ(error_of(logged)["code"], "not_found") << "the object is the last line, after what was logged";
}

TEST_F(Cairn, SaveTellsPeopleInOneLineAndMachinesInTheFixedObject) {
    const auto human = save(R"({"step":1})");
    EXPECT_EQ(human.exit_code, 0) << human.errors;
    EXPECT_THAT(human.output, MatchesRegex("persisted [-0-9a-f]+ \\(version 1, sync\\)\n"));

    const Json receipt = saved(R"({"step":2})");
    EXPECT_THAT(keys_of(receipt), ElementsAre("snapshot_id", "outcome", "durability", "version"));
    EXPECT_THAT(receipt["snapshot_id"].get<std::string>(), SizeIs(36));
    EXPECT_EQ(receipt["outcome"], "persisted");
    EXPECT_EQ(receipt["durability"], "sync");
    EXPECT_EQ(receipt["version"], 2);
}

TEST_F(Cairn, SaveReadsAFileADashOrNothingAsStandardInput) {
    write("state.json", R"({"from":"file"})");
    saved("", {"state.json"});
    saved(R"({"from":"dash"})", {"-"});
    saved(R"({"from":"pipe"})");
    write("log", R"({"from":"a file named like a command"})");
    saved("", {"log"});
    EXPECT_EQ(run({"load", "--run", "r1", "--snapshot", "1"}).output, "{\"from\":\"file\"}\n");
    EXPECT_EQ(run({"load", "--run", "r1", "--snapshot", "2"}).output, "{\"from\":\"dash\"}\n");
    EXPECT_EQ(run({"load", "--run", "r1", "--snapshot", "3"}).output, "{\"from\":\"pipe\"}\n");
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"from\":\"a file named like a command\"}\n");
}

TEST_F(Cairn, SaveKeepsEverythingThatItIsTold) {
    saved("{}", {"--type", "pipeline_complete", "--phase", "triage", "--recovery-point", "--snapshot-id", "mine-1",
                 "--expires-at", "2030-01-02", "--context", R"({ "big": 123456789012345678901234567890 })"});
    const auto result = run({"log", "--run", "r1", "--json"});
    EXPECT_THAT(result.output, HasSubstr(R"("execution_context":{"big":123456789012345678901234567890}})"));
    const Json info = Json::parse(result.output)[0];
    EXPECT_EQ(info["checkpoint_type"], "pipeline_complete");
    EXPECT_EQ(info["agent_phase"], "triage");
    EXPECT_EQ(info["is_recovery_point"], true);
    EXPECT_EQ(info["snapshot_id"], "mine-1");
    EXPECT_EQ(info["expires_at"], "2030-01-02T00:00:00.000000Z");
}

TEST_F(Cairn, SaveRefusesBadInputAndMakesNoStore) {
    expect_error(save("[1]"), ErrorCode::kInvalidState, "standard input: ");
    expect_error(save(""), ErrorCode::kInvalidState, "standard input: ");
    expect_error(save(R"({"a":NaN})"), ErrorCode::kInvalidState, "standard input: ");
    write("bad.json", R"({"a":)");
    expect_error(save("", {"bad.json"}), ErrorCode::kInvalidState, "file \"bad.json\": ");
    expect_error(save("", {"absent.json"}), ErrorCode::kNotFound, "absent.json");
    expect_error(save("", {"."}), ErrorCode::kInvalidArgument, "\".\"");
    expect_error(save("{}", {"--context", "[]"}), ErrorCode::kInvalidState, "--context: ");
    expect_error(save("{}", {"--expires-at", "soon"}), ErrorCode::kInvalidArgument, "--expires-at: ");
    expect_error(save("{}", {"--expected-version", "1"}), ErrorCode::kInvalidArgument, "--on-conflict fail");
    expect_error(save("{}", {"--on-conflict", "panic"}), ErrorCode::kInvalidArgument, "panic");
    EXPECT_FALSE(std::filesystem::exists(folder_ / "cairn.db"));
}

TEST_F(Cairn, SaveRefusesAnEmptyRunId) {
    const auto result = run({"save", "--run", "", "--thread", "t1", "--user", "u1"}, "{}");
    expect_error(result, ErrorCode::kInvalidArgument, "run_id");
}

TEST_F(Cairn, SaveStopsReadingAtTheLimitWhateverTheFilesSize) {
    std::ofstream(folder_ / "huge.json") << "{";
    std::filesystem::resize_file(folder_ / "huge.json", 10ULL << 30);  // sparse
    const auto file = save("", {"huge.json"}, {{"CAIRN_STATE_BYTES_MAX", "1000"}});
    expect_error(file, ErrorCode::kLimitExceeded, "more than 1000 bytes (CAIRN_STATE_BYTES_MAX)");
    const auto pipe = run_shell("yes | CAIRN_STATE_BYTES_MAX=1000 \"$CAIRN\" save --run r --thread t --user u");
    expect_error(pipe, ErrorCode::kLimitExceeded, "standard input has more than 1000 bytes");

    const std::string exact = R"({"a":")" + std::string(992, 'x') + "\"}";
    ASSERT_EQ(exact.size(), 1000U);
    EXPECT_EQ(save(exact, {}, {{"CAIRN_STATE_BYTES_MAX", "1000"}}).exit_code, 0);
}

TEST_F(Cairn, SaveWithAnotherOwnerIsRefused) {
    saved("{}");
    const auto result = run({"save", "--run", "r1", "--thread", "t1", "--user", "someone"}, "{}");
    EXPECT_EQ(result.exit_code, exit_code_of(ErrorCode::kInvalidArgument)) << result.errors;
}

TEST_F(Cairn, ASecondProcessSkipsAnEqualStateOnlyIfOptimised) {
    const Json first = saved(R"({"a":1,"b":2})", {}, kOptimised);
    EXPECT_EQ(first["outcome"], "persisted");
    const Json second = saved(R"({ "a": 1, "b": 2 })", {}, kOptimised);
    EXPECT_EQ(second["outcome"], "deduplicated");
    EXPECT_EQ(second["snapshot_id"], first["snapshot_id"]);
    EXPECT_EQ(second["version"], first["version"]);
    const Json reordered = saved(R"({"b":2,"a":1})", {}, kOptimised);
    EXPECT_EQ(reordered["outcome"], "deduplicated");
    EXPECT_EQ(reordered["snapshot_id"], first["snapshot_id"]);

    const Json standard = saved(R"({"a":1,"b":2})");
    EXPECT_EQ(standard["outcome"], "persisted");
    EXPECT_NE(standard["snapshot_id"], first["snapshot_id"]);
    EXPECT_EQ(standard["version"], 2);
}

TEST_F(Cairn, AnEqualStateIsSavedAgainWhenAnotherCameBetween) {
    const Json first = saved(R"({"s":"X"})", {}, kOptimised);
    saved(R"({"s":"Y"})");
    const Json again = saved(R"({"s":"X"})", {}, kOptimised);
    EXPECT_EQ(again["outcome"], "persisted");
    EXPECT_NE(again["snapshot_id"], first["snapshot_id"]);
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"s\":\"X\"}\n");
}

TEST_F(Cairn, CriticalSavesAreNeverSkipped) {
    saved("{}", {}, kOptimised);
    std::int64_t version = 1;
    for (const std::vector<std::string>& critical : {std::vector<std::string>{"--type", "manual"},
                                                     {"--type", "recovery"},
                                                     {"--type", "phase_transition"},
                                                     {"--type", "my_own"},
                                                     {"--recovery-point"}}) {
        const Json receipt = saved("{}", critical, kOptimised);
        EXPECT_EQ(receipt["outcome"], "persisted") << critical.back();
        EXPECT_EQ(receipt["version"], ++version);
    }
    for (const char* type : {"auto", "intermediate", "pipeline_complete"}) {
        EXPECT_EQ(saved("{}", {"--type", type}, kOptimised)["outcome"], "deduplicated") << type;
    }
}

TEST_F(Cairn, DeduplicationCanBeSwitchedOffAlone) {
    Environment environment = kOptimised;
    environment["OPTIMIZED_PERSISTENCE_DEDUPLICATION"] = "false";
    saved("{}", {}, environment);
    EXPECT_EQ(saved("{}", {}, environment)["outcome"], "persisted");
}

TEST_F(Cairn, TheOwnSnapshotIdMakesARetryHarmlessAndAnotherStateAConflictOfIds) {
    const Json first = saved(R"({"a":1})", {"--snapshot-id", "mine"});
    const Json retried = saved(R"({"a":1})", {"--snapshot-id", "mine"});
    EXPECT_EQ(retried["version"], first["version"]);
    EXPECT_THAT(log(), SizeIs(1));
    const auto other = save(R"({"a":2})", {"--snapshot-id", "mine"});
    expect_error(other, ErrorCode::kAlreadyExists, "mine");
}

TEST_F(Cairn, AMovedHeadIsAConflictWhereAsked) {
    saved(R"({"a":1})");
    saved(R"({"a":2})", {"--on-conflict", "fail", "--expected-version", "1"});
    const auto late = save(R"({"a":3})", {"--on-conflict", "fail", "--expected-version", "1"});
    EXPECT_EQ(late.exit_code, exit_code_of(ErrorCode::kConflict)) << late.errors;
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"a\":2}\n");
}

TEST_F(Cairn, LoadPrintsTheNormalTextAndOneNewline) {
    const std::string exact =
        R"({"z":1.0,"a":-0.0,"big":123456789012345678901234567890,"lone":"\ud800","nul":"\u0000","e":"\u00e9é","z":1})";
    saved(" " + exact + "\n");
    const auto loaded = run({"load", "--run", "r1"});
    EXPECT_EQ(loaded.exit_code, 0);
    EXPECT_EQ(loaded.output, exact + "\n");
    EXPECT_EQ(run({"load", "--run", "r1", "--json"}).output, exact + "\n");
}

TEST_F(Cairn, LoadWritesTheExactBytesToAFile) {
    saved(R"({"a":1})");
    const auto loaded = run({"load", "--run", "r1", "--output", "out.json"});
    EXPECT_EQ(loaded.exit_code, 0);
    EXPECT_THAT(loaded.output, IsEmpty());
    EXPECT_EQ(read("out.json"), R"({"a":1})");
    expect_error(run({"load", "--run", "r1", "--output", "none/out.json"}), ErrorCode::kNotFound, "none/out.json");
    expect_error(run({"load", "--run", "r1", "--output", "."}), ErrorCode::kInvalidArgument, "\".\"");
}

TEST_F(Cairn, LoadFindsASnapshotByIdOrVersionAndOnlyUnderItsOwners) {
    const Json first = saved(R"({"a":1})");
    saved(R"({"a":2})");
    const std::string id = first["snapshot_id"];
    EXPECT_EQ(run({"load", "--run", "r1", "--snapshot", id}).output, "{\"a\":1}\n");
    EXPECT_EQ(run({"load", "--run", "r1", "--snapshot", "1"}).output, "{\"a\":1}\n");
    EXPECT_EQ(run({"load", "--run", "r1", "--thread", "t1", "--user", "u1"}).output, "{\"a\":2}\n");
    for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--run", "r2"},
                                                  {"--run", "r2", "--snapshot", id},
                                                  {"--run", "r1", "--snapshot", "3"},
                                                  {"--run", "r1", "--snapshot", "none"},
                                                  {"--run", "r1", "--user", "u2"},
                                                  {"--run", "r1", "--thread", "t2"},
                                                  {"--run", "r1", "--snapshot", "1", "--user", "u2"}}) {
        expect_error(run(std::vector<std::string>{"load"} + wrong), ErrorCode::kNotFound, "");
    }
}

TEST_F(Cairn, ANumberNamesTheSnapshotOfThatIdBeforeTheVersion) {
    saved(R"({"a":1})", {"--snapshot-id", "2"});
    saved(R"({"a":2})");
    EXPECT_EQ(run({"load", "--run", "r1", "--snapshot", "2"}).output, "{\"a\":1}\n");
}

TEST_F(Cairn, ReadingCommandsNeverMakeAStore) {
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{"load", "--run", "r1"},
                                                      {"log", "--run", "r1"},
                                                      {"runs"},
                                                      {"diff", "--run", "r1"},
                                                      {"stats"},
                                                      {"check"},
                                                      {"check", "--deep"},
                                                      {"recover", "--run", "r1", "--type", "resume"}}) {
        expect_error(run(arguments), ErrorCode::kNotFound, "cairn.db");
    }
    EXPECT_FALSE(std::filesystem::exists(folder_ / "cairn.db"));
}

TEST_F(Cairn, AReaderThatGoesAwayIsNoError) {
    saved(R"({"text":")" + std::string(1 << 20, 'x') + "\"}");
    const auto head = run_shell("\"$CAIRN\" load --run r1 | head -c 10");
    EXPECT_EQ(head.exit_code, 0);
    EXPECT_EQ(head.output, "{\"text\":\"x");
    EXPECT_THAT(head.errors, IsEmpty());
    const auto ignored = run_shell("trap '' PIPE; \"$CAIRN\" load --run r1 | head -c 10");
    EXPECT_THAT(ignored.errors, IsEmpty());
}

TEST_F(Cairn, OutputThatCannotBeWrittenIsAnError) {
    saved("{}");
    const auto full = run_shell("\"$CAIRN\" load --run r1 > /dev/full");
    EXPECT_EQ(full.exit_code, 1);
    EXPECT_THAT(full.errors, HasSubstr("cannot write to standard output: No space left on device"));
}

TEST_F(Cairn, LogIsAnArrayNewestFirstWithEveryField) {
    saved(R"({"a":1})");
    saved(R"({"a":2})");
    const Json snapshots = log();
    ASSERT_THAT(snapshots, SizeIs(2));
    EXPECT_EQ(snapshots[0]["version"], 2);
    EXPECT_EQ(snapshots[0]["parent_version"], 1);
    EXPECT_EQ(snapshots[1]["version"], 1);
    EXPECT_THAT(keys_of(snapshots[0]),
                ElementsAre("run_id", "thread_id", "user_id", "snapshot_id", "version", "parent_version",
                            "checkpoint_type", "agent_phase", "is_recovery_point", "created_at", "expires_at",
                            "state_bytes", "frame_bytes", "checksum", "execution_context"));
    EXPECT_EQ(snapshots[0]["run_id"], "r1");
    EXPECT_EQ(snapshots[0]["state_bytes"], 7);
    EXPECT_THAT(snapshots[0]["checksum"].get<std::string>(), SizeIs(32));
    EXPECT_THAT(snapshots[0]["created_at"].get<std::string>(), AllOf(SizeIs(27), ::testing::EndsWith("Z")));
    EXPECT_TRUE(snapshots[0]["expires_at"].is_null());
    EXPECT_TRUE(snapshots[0]["execution_context"].is_null());
}

TEST_F(Cairn, LogFiltersAndLimits) {
    saved(R"({"a":1})", {"--phase", "triage"});
    saved(R"({"a":2})", {"--type", "manual"});
    saved(R"({"a":3})", {"--recovery-point"});
    saved(R"({"a":4})", {"--phase", "triage", "--type", "manual"});
    const auto versions = [&](const std::vector<std::string>& more) {
        std::vector<int> found;
        for (const Json& info : log(more)) found.push_back(info["version"]);
        return found;
    };
    EXPECT_THAT(versions({}), ElementsAre(4, 3, 2, 1));
    EXPECT_THAT(versions({"--limit", "2"}), ElementsAre(4, 3));
    EXPECT_THAT(versions({"--limit", "0"}), ElementsAre(4, 3, 2, 1));
    EXPECT_THAT(versions({"--before", "3"}), ElementsAre(2, 1));
    EXPECT_THAT(versions({"--type", "manual"}), ElementsAre(4, 2));
    EXPECT_THAT(versions({"--phase", "triage"}), ElementsAre(4, 1));
    EXPECT_THAT(versions({"--phase", "triage", "--type", "manual"}), ElementsAre(4));
    EXPECT_THAT(versions({"--recovery-points"}), ElementsAre(3));
    EXPECT_THAT(versions({"--since", "2020-01-01"}), ElementsAre(4, 3, 2, 1));
    EXPECT_THAT(versions({"--until", "2020-01-01"}), IsEmpty());
    EXPECT_THAT(versions({"--type", "none"}), IsEmpty());
    expect_error(run({"log", "--run", "r2"}), ErrorCode::kNotFound, "\"r2\"");
    expect_error(run({"log", "--run", "r1", "--user", "u2"}), ErrorCode::kNotFound, "of this owner");
}

TEST_F(Cairn, LogShowsTwentyUnlessToldAndAllOnDemand) {
    std::string script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do ";
    script += "echo \"{\\\"i\\\":$i}\" | \"$CAIRN\" save --run r1 --thread t1 --user u1 >/dev/null || exit 1; done";
    ASSERT_EQ(run_shell(script).exit_code, 0);
    EXPECT_THAT(log(), SizeIs(20));
    EXPECT_THAT(log({"--limit", "0"}), SizeIs(22));
    EXPECT_THAT(log({"--limit", "22"}), SizeIs(22));
}

TEST_F(Cairn, NothingThatWasSavedCanSteerATerminal) {
    saved("{}");
    saved("{\"text\":\"\xC2\x9B\x7F\"}");
    const auto diff = run({"diff", "--run", "r1"});
    EXPECT_THAT(diff.output, HasSubstr("+ /text  \"??\"\n"));
    run({"recover", "--run", "r1", "--type", "restart", "--reason", "\x1b[31mred\nline"});
    const auto table = run({"log", "--run", "r1", "--recoveries"});
    EXPECT_THAT(table.output, AllOf(StartsWith("STARTED"), HasSubstr("?[31mred?line"), Not(HasSubstr("\x1b"))));
    EXPECT_EQ(log({"--recoveries"})[0]["failure_reason"], "\x1b[31mred\nline");
}

TEST_F(Cairn, RunsAndThreadsAreListedAndFiltered) {
    const auto save_as = [&](const std::string& run_id, const std::string& thread, const std::string& user) {
        parsed(run({"save", "--run", run_id, "--thread", thread, "--user", user, "--phase", "triage", "--json"}, "{}"));
    };
    save_as("r1", "t1", "u1");
    save_as("r2", "t1", "u1");
    save_as("r3", "t2", "u2");
    const auto names = [&](const std::vector<std::string>& more, const char* member) {
        std::vector<std::string> found;
        for (const Json& item : parsed(run(std::vector<std::string>{"runs", "--json"} + more))) {
            found.push_back(item[member]);
        }
        return found;
    };
    EXPECT_THAT(names({}, "run_id"), ElementsAre("r3", "r2", "r1"));
    EXPECT_THAT(names({"--limit", "2"}, "run_id"), ElementsAre("r3", "r2"));
    EXPECT_THAT(names({"--thread", "t1"}, "run_id"), ElementsAre("r2", "r1"));
    EXPECT_THAT(names({"--user", "u2"}, "run_id"), ElementsAre("r3"));
    EXPECT_THAT(names({"--user", "nobody"}, "run_id"), IsEmpty());
    EXPECT_THAT(names({"--threads"}, "thread_id"), ElementsAre("t1", "t2"));
    EXPECT_THAT(names({"--threads", "--user", "u2"}, "thread_id"), ElementsAre("t2"));
    EXPECT_THAT(names({"--threads", "--limit", "1"}, "thread_id"), ElementsAre("t1"));
    EXPECT_THAT(run({"runs"}).output, AllOf(StartsWith("RUN  THREAD"), HasSubstr("r3   t2      u2")));
    EXPECT_THAT(run({"runs", "--threads"}).output, StartsWith("THREAD  USER  RUNS"));

    const Json item = parsed(run({"runs", "--json", "--limit", "1"}))[0];
    EXPECT_THAT(keys_of(item), ElementsAre("run_id", "thread_id", "user_id", "head_version", "head_snapshot_id",
                                           "checkpoint_type", "agent_phase", "created_at", "updated_at", "snapshots"));
}

TEST_F(Cairn, TheContextOfAThreadIsTold) {
    saved(R"({"a":1})", {"--phase", "triage"});
    const Json receipt = saved(R"({"a":2})", {"--phase", "reporting"});
    const Json context = parsed(run({"runs", "--thread", "t1", "--context", "--json"}));
    EXPECT_THAT(keys_of(context), ElementsAre("thread_id", "user_id", "snapshots", "newest_run_id",
                                              "newest_snapshot_id", "agent_phase", "updated_at", "runs"));
    EXPECT_EQ(context["snapshots"], 2);
    EXPECT_EQ(context["newest_snapshot_id"], receipt["snapshot_id"]);
    EXPECT_EQ(context["agent_phase"], "reporting");
    EXPECT_THAT(context["runs"], SizeIs(1));
    EXPECT_THAT(run({"runs", "--thread", "t1", "--context"}).output, HasSubstr("newest run       r1"));
    expect_error(run({"runs", "--thread", "t9", "--context"}), ErrorCode::kNotFound, "t9");
}

TEST_F(Cairn, DiffComparesTheNewestTwoOrThoseNamed) {
    const Json first = saved(R"({"a":1,"gone":true})");
    saved(R"({"a":2,"list":[1]})");
    saved(R"({"a":2,"list":[1,2]})");
    const auto patch = [&](const std::vector<std::string>& which) {
        const auto result = run(std::vector<std::string>{"diff", "--run", "r1", "--json"} + which);
        EXPECT_EQ(result.exit_code, 0) << result.errors;
        return result.output;
    };
    EXPECT_EQ(patch({}), "[{\"op\":\"add\",\"path\":\"/list/1\",\"value\":2}]\n");
    EXPECT_EQ(patch({"2"}), patch({}));
    EXPECT_EQ(patch({"3", "3"}), "[]\n");
    const Json before = Json::parse(R"({"a":1,"gone":true})");
    EXPECT_EQ(before.patch(Json::parse(patch({"1", "3"}))), Json::parse(R"({"a":2,"list":[1,2]})"));
    EXPECT_EQ(patch({first["snapshot_id"], "2"}), patch({"1", "2"}));

    const auto text = run({"diff", "--run", "r1", "1", "2"});
    EXPECT_THAT(text.output, AllOf(HasSubstr("~ /a  1 -> 2\n"), HasSubstr("- /gone  true\n"),
                                   HasSubstr("+ /list  [1]\n"), HasSubstr("3 changes\n")));
    EXPECT_THAT(run({"diff", "--run", "r1", "1", "1"}).output, HasSubstr("no change\n"));
    expect_error(run({"diff", "--run", "r1", "9"}), ErrorCode::kNotFound, "version 9");
    expect_error(run({"diff", "--run", "r9"}), ErrorCode::kNotFound, "r9");
}

TEST_F(Cairn, DiffOfASingleSnapshotSaysThatThereIsNoOther) {
    saved("{}");
    expect_error(run({"diff", "--run", "r1"}), ErrorCode::kNotFound, "one snapshot only");
}

TEST_F(Cairn, DiffNeverPrintsALongValueInFull) {
    saved("{}");
    saved(R"({"long":")" + std::string(100000, 'x') + "\",\"" + std::string(5000, 'k') + "\":1}");
    const auto text = run({"diff", "--run", "r1"});
    EXPECT_EQ(text.exit_code, 0);
    EXPECT_LT(text.output.size(), 1000U);
    EXPECT_THAT(text.output, HasSubstr("(97.7 KiB)"));
}

TEST_F(Cairn, RecoverRollsBackRestartsAndResumes) {
    const Json first = saved(R"({"a":1})");
    saved(R"({"a":2})");
    const Json third = saved(R"({"a":3})");
    const Json back =
        parsed(run({"recover", "--run", "r1", "--type", "rollback", "--to", "1", "--reason", "because", "--json"}));
    EXPECT_THAT(keys_of(back), ElementsAre("run_id", "recovery_type", "source_snapshot_id", "snapshot_id", "version",
                                           "damaged", "duration_us"));
    EXPECT_EQ(back["source_snapshot_id"], first["snapshot_id"]);
    EXPECT_EQ(back["version"], 4);
    EXPECT_THAT(back["damaged"], IsEmpty());
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"a\":1}\n");

    const Json resumed = parsed(run({"recover", "--run", "r1", "--type", "resume", "--json"}));
    EXPECT_EQ(resumed["snapshot_id"], back["snapshot_id"]);
    const auto by_id = run({"recover", "--run", "r1", "--type", "rollback", "--to", third["snapshot_id"]});
    EXPECT_THAT(by_id.output, AllOf(HasSubstr(third["snapshot_id"].get<std::string>()), HasSubstr("(version 5)")));
    const auto restarted = run({"recover", "--run", "r1", "--type", "restart", "--print-state"});
    EXPECT_EQ(restarted.output, "{\"a\":1}\n");
    EXPECT_THAT(restarted.errors, HasSubstr("(version 6)"));

    const Json records = log({"--recoveries"});
    ASSERT_THAT(records, SizeIs(4));
    EXPECT_EQ(records[0]["recovery_type"], "restart");
    EXPECT_EQ(records[3]["failure_reason"], "because");
    EXPECT_THAT(keys_of(records[0]),
                ElementsAre("run_id", "recovery_type", "failure_reason", "auto_recovery", "source_snapshot_id",
                            "result_snapshot_id", "result", "detail", "started_at", "duration_us"));
    EXPECT_THAT(run({"log", "--run", "r1", "--recoveries"}).output, HasSubstr("rollback  recovered"));
    EXPECT_THAT(log({"--recoveries", "--limit", "1"}), SizeIs(1));
}

TEST_F(Cairn, RecoverRefusesWhatMakesNoSense) {
    saved("{}");
    expect_error(run({"recover", "--run", "r1", "--type", "rollback"}), ErrorCode::kInvalidArgument, "target");
    expect_error(run({"recover", "--run", "r1", "--type", "resume", "--to", "1"}), ErrorCode::kInvalidArgument, "");
    expect_error(run({"recover", "--run", "r1", "--type", "rollback", "--to", "7"}), ErrorCode::kNotFound, "7");
    expect_error(run({"recover", "--run", "r9", "--type", "resume"}), ErrorCode::kNotFound, "r9");
    expect_error(run({"recover", "--run", "r1", "--type", "resume", "--user", "u2"}), ErrorCode::kNotFound, "r1");
}

TEST_F(Cairn, DamageIsReportedNeverLoadedAndRecoveredFrom) {
    saved(R"({"text":"intact"})");
    saved(R"({"text":"fragile"})");
    ASSERT_EQ(run({"check", "--deep"}).exit_code, 0);
    damage("fragile");

    expect_error(run({"load", "--run", "r1"}), ErrorCode::kCorrupt, "");
    const auto checked = run({"check", "--deep", "--json"});
    EXPECT_EQ(checked.exit_code, exit_code_of(ErrorCode::kCorrupt));
    const Json report = Json::parse(checked.output);
    EXPECT_EQ(report["ok"], false);
    ASSERT_THAT(report["findings"], SizeIs(1));
    EXPECT_EQ(report["findings"][0]["run_id"], "r1");
    EXPECT_EQ(Json::parse(checked.errors)["error"]["code"], "corrupt");
    const auto table = run({"check", "--deep"});
    EXPECT_EQ(table.exit_code, exit_code_of(ErrorCode::kCorrupt));
    EXPECT_THAT(table.output, AllOf(StartsWith("RUN  SNAPSHOT"), HasSubstr("findings: 1")));

    const auto recovered = run({"recover", "--run", "r1", "--type", "resume"});
    EXPECT_EQ(recovered.exit_code, 0) << recovered.errors;
    EXPECT_THAT(recovered.output, AllOf(StartsWith("damaged: version 2 ("), HasSubstr("new head")));
    EXPECT_EQ(run({"load", "--run", "r1"}).output, "{\"text\":\"intact\"}\n");
}

TEST_F(Cairn, CheckAndStatsOfASoundStore) {
    saved(R"({"a":1})");
    saved(R"({"a":2})");
    const Json shallow = parsed(run({"check", "--json"}));
    EXPECT_THAT(keys_of(shallow), ElementsAre("ok", "deep", "runs", "snapshots", "findings"));
    EXPECT_EQ(shallow["ok"], true);
    EXPECT_EQ(shallow["deep"], false);
    EXPECT_EQ(shallow["snapshots"], 2);
    EXPECT_THAT(run({"check", "--deep"}).output, HasSubstr("all is well"));

    const Json stats = parsed(run({"stats", "--json"}, "", kOptimised));
    EXPECT_THAT(keys_of(stats),
                ElementsAre("store", "threads", "runs", "snapshots", "state_bytes", "payload_bytes", "store_bytes",
                            "ratio", "optimized_persistence", "deduplication", "compression"));
    EXPECT_EQ(stats["store"], "sqlite:cairn.db");
    EXPECT_EQ(stats["runs"], 1);
    EXPECT_EQ(stats["snapshots"], 2);
    EXPECT_EQ(stats["state_bytes"], 14);
    EXPECT_GT(stats["store_bytes"], 0);
    EXPECT_EQ(stats["optimized_persistence"], true);
    EXPECT_THAT(run({"stats"}).output, HasSubstr("snapshots          2\n"));
}

TEST_F(Cairn, StoreIsAcceptedBeforeAndAfterTheCommandAndWinsOverTheEnvironment) {
    const Environment elsewhere{{"CAIRN_STORE", "sqlite:elsewhere.db"}};
    parsed(run({"--store", "sqlite:mine.db", "--json", "save", "--run", "r1", "--thread", "t1", "--user", "u1"}, "{}",
               elsewhere));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "mine.db"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "elsewhere.db"));
    EXPECT_EQ(run({"load", "--run", "r1", "--store", "sqlite:mine.db"}, "", elsewhere).output, "{}\n");
    expect_error(run({"load", "--run", "r1"}, "", elsewhere), ErrorCode::kNotFound, "elsewhere.db");
}

TEST_F(Cairn, AStoreThatCannotBeOpenedIsAClearError) {
    expect_error(run({"runs", "--store", "mongodb://x"}), ErrorCode::kInvalidArgument, "mongodb");
    expect_error(run({"runs", "--store", "sqlite:"}), ErrorCode::kInvalidArgument, "");
    write("not_ours.db",
          "this is not a database, whatever its name says, and it is long enough to be one: " + std::string(1000, '.'));
    expect_error(run({"runs", "--store", "sqlite:not_ours.db"}), ErrorCode::kIncompatible, "not_ours.db");
    EXPECT_NE(save("{}", {"--store", "sqlite:."}).exit_code, 0);
    EXPECT_NE(save("{}", {"--store", "sqlite:none/x.db"}).exit_code, 0);
}

TEST_F(Cairn, ConfigShowsValueAndOriginOfEveryVariable) {
    write(".env", "# settings\nexport CAIRN_TIMEOUT_MS=\"250\"\nCAIRN_LOG_LEVEL=info\r\nOTHER=x\n");
    const Environment environment{{"CAIRN_LOG_LEVEL", "error"}, {"CAIRN_STORE", "postgresql://me:secret@host/db"}};
    const auto result = run({"config", "--json"}, "", environment);
    const Json entries = parsed(result);
    ASSERT_THAT(entries, SizeIs(11));
    EXPECT_THAT(keys_of(entries[0]), ElementsAre("variable", "value", "origin", "accepts", "description"));
    const auto entry = [&](std::string_view variable) {
        for (const Json& candidate : entries) {
            if (candidate["variable"] == variable) return candidate;
        }
        return Json();
    };
    EXPECT_EQ(entry("CAIRN_TIMEOUT_MS")["value"], "250");
    EXPECT_EQ(entry("CAIRN_TIMEOUT_MS")["origin"], ".env");
    EXPECT_EQ(entry("CAIRN_LOG_LEVEL")["value"], "error");
    EXPECT_EQ(entry("CAIRN_LOG_LEVEL")["origin"], "environment");
    EXPECT_EQ(entry("CAIRN_STATE_DEPTH_MAX")["origin"], "default");
    EXPECT_EQ(entry("CAIRN_STORE")["value"], "postgresql://me:***@host/db");
    EXPECT_THAT(result.output, Not(HasSubstr("secret")));

    const auto table = run({"config", "--store", "memory:"}, "", environment);
    EXPECT_THAT(table.output, AllOf(StartsWith("VARIABLE"), HasSubstr("memory:"), HasSubstr("--store")));
}

TEST_F(Cairn, DotenvInTheWorkingFolderIsHonouredAndTheEnvironmentWins) {
    write(".env", "ENABLE_OPTIMIZED_PERSISTENCE=true\nCAIRN_STORE='sqlite:from dotenv.db'\n");
    saved("{}");
    EXPECT_EQ(saved("{}")["outcome"], "deduplicated");
    EXPECT_TRUE(std::filesystem::exists(folder_ / "from dotenv.db"));
    EXPECT_EQ(saved("{}", {}, {{"ENABLE_OPTIMIZED_PERSISTENCE", "false"}})["outcome"], "persisted");
}

TEST_F(Cairn, ABrokenSettingStopsEveryCommand) {
    expect_error(run({"runs"}, "", {{"OPTIMIZED_PERSISTENCE_CACHE_SIZE", "lots"}}), ErrorCode::kInvalidConfig,
                 "OPTIMIZED_PERSISTENCE_CACHE_SIZE=\"lots\" (from the environment)");
    write(".env", "A=1\n\nbroken\n");
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{"config"}, {"runs"}, {"stats"}}) {
        expect_error(run(arguments), ErrorCode::kInvalidConfig, ".env line 3:");
    }
    EXPECT_EQ(run({"--help"}).exit_code, 0);
}

TEST_F(Cairn, ASessionAsInTheReadme) {
    const auto session = run_shell(R"(set -e
export ENABLE_OPTIMIZED_PERSISTENCE=true
echo '{"step":1,"messages":[]}' | "$CAIRN" save --run demo --thread t --user me > /dev/null
echo '{"step":2,"messages":["hello"]}' | "$CAIRN" save --run demo --thread t --user me --phase triage > /dev/null
echo '{"messages":["hello"],"step":2}' | "$CAIRN" save --run demo --thread t --user me | cut -d' ' -f1
"$CAIRN" log --run demo | wc -l
"$CAIRN" diff --run demo | tail -n +3
"$CAIRN" recover --run demo --type rollback --to 1 > /dev/null
"$CAIRN" load --run demo
"$CAIRN" load --run demo --snapshot 2 > two.json
"$CAIRN" load --run demo --snapshot 2 | diff - two.json && echo same
"$CAIRN" check --deep > /dev/null
)");
    EXPECT_EQ(session.exit_code, 0) << session.errors;
    EXPECT_EQ(session.output,
              "deduplicated\n3\n~ /step  1 -> 2\n+ /messages/0  \"hello\"\n2 changes\n{\"step\":1,\"messages\":[]}\n"
              "same\n");
}

}  // namespace
}  // namespace cairn::test
