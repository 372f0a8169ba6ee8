// Goal: `cairn save` and `cairn load` keep the library's promises between processes: texts and skips are exact,
// critical saves are written, and bad input is refused with its place and an exit code. Method: runs the built program
// as a child in a folder of its own, as a user would; see program_fixture.h.

#include "cli/program_fixture.h"

#include <filesystem>
#include <fstream>

namespace cairn::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::SizeIs;

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
    EXPECT_THAT(result.output, HasSubstr(R"("execution_context":{"big":123456789012345678901234567890},)"));
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

TEST_F(Cairn, OpaqueStatesAreSavedFromAFileAndLoadedIntoOne) {
    const std::string bytes("\x81\xa4step\x01\0\n", 8);
    write("state.msgpack", bytes);
    saved("", {"--state-type", "msgpack", "state.msgpack"});
    EXPECT_EQ(run({"load", "--run", "r1", "--output", "loaded"}).exit_code, 0);
    EXPECT_EQ(read("loaded"), bytes);
    const auto printed = run({"load", "--run", "r1"});
    expect_error(printed, ErrorCode::kInvalidArgument, "the state is opaque (type \"msgpack\", 8 bytes)");
    EXPECT_THAT(printed.errors, HasSubstr("--output FILE"));
    expect_error(save("x", {"--state-type", "a b"}), ErrorCode::kInvalidArgument, "--state-type: ");
    expect_error(save("{}", {"--state-type", ""}), ErrorCode::kInvalidArgument, "--state-type: the value is empty");
    EXPECT_EQ(saved(bytes, {"--state-type", "msgpack"}, kOptimised)["outcome"], "deduplicated");
}

TEST_F(Cairn, SaveRefusesAnEmptyRunId) {
    const auto result = run({"save", "--run", "", "--thread", "t1", "--user", "u1"}, "{}");
    expect_error(result, ErrorCode::kInvalidArgument, "--run: the value is empty");
}

TEST_F(Cairn, SaveNamesStandardInputWhenItCannotBeRead) {
    const auto closed = run_shell("\"$CAIRN\" save --run r1 --thread t1 --user u1 <&-");
    expect_error(closed, ErrorCode::kInvalidArgument, "standard input cannot be read");
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
    Environment lenient = kOptimised;
    lenient["CAIRN_IGNORE_KEY_ORDER"] = "true";
    EXPECT_EQ(saved(R"({"b":2,"a":1})", {}, lenient)["outcome"], "deduplicated");
    EXPECT_EQ(saved(R"({"b":2,"a":1})", {}, kOptimised)["outcome"], "persisted");

    const Json standard = saved(R"({"a":1,"b":2})");
    EXPECT_EQ(standard["outcome"], "persisted");
    EXPECT_NE(standard["snapshot_id"], first["snapshot_id"]);
    EXPECT_EQ(standard["version"], 3);
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
    for (const char* type : {"auto", "intermediate"}) {
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
    EXPECT_EQ(run_shell("\"$CAIRN\" load --run r1 >&-").exit_code, 1);
}

TEST_F(Cairn, AMessageThatCannotBeWrittenChangesNoExitCode) {
    saved("{}");
    for (const std::string nowhere : {"2>&-", "2>/dev/full"}) {
        EXPECT_EQ(run_shell("\"$CAIRN\" load --run r9 " + nowhere).exit_code, exit_code_of(ErrorCode::kNotFound))
            << nowhere;
        EXPECT_EQ(run_shell("\"$CAIRN\" load " + nowhere).exit_code, exit_code_of(ErrorCode::kInvalidArgument))
            << nowhere;
        EXPECT_EQ(run_shell("\"$CAIRN\" recover --run r1 --type resume --print-state " + nowhere).output, "{}\n")
            << nowhere;
    }
}

}  // namespace
}  // namespace cairn::test
