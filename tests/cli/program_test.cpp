// Goal: the parts that all commands share work: help, usage errors, error objects, settings, stores that cannot be
// opened.
// Method: runs the built program as a child in a folder of its own, as a user would; see program_fixture.h.

#include "cli/program_fixture.h"

#include <filesystem>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST_F(Cairn, AloneOrAskedForHelpPrintsHelpAndSucceeds) {
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{}, {"--help"}}) {
        const auto result = run(arguments);
        EXPECT_EQ(result.exit_code, 0);
        EXPECT_THAT(result.output, AllOf(HasSubstr("Usage: cairn"), HasSubstr("recover"), HasSubstr("Examples:"),
                                         HasSubstr("6 not_found")));
    }
}

TEST_F(Cairn, EveryCommandsHelpEndsWithExamples) {
    for (const char* command : {"save", "load", "log", "fork", "runs", "diff", "recover", "stats", "check", "prune",
                                "delete", "export", "import", "config", "replay", "help", "version"}) {
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
        {{"bogus"}, "\"bogus\" is no command. `cairn --help`"},
        {{"stats", "--bogus"}, "\"cairn stats\" has no option --bogus. `cairn stats --help`"},
        {{"stats", "extra"}, "`cairn stats --help`"},
        {{"load"}, "--run is required. `cairn load --help`"},
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

// `--snapshot "$SNAPSHOT"` must not mean the head when the variable is not set.
TEST_F(Cairn, AnEmptyValueIsAMistakeAndNeverTheDefault) {
    saved(R"({"a":1})");
    saved(R"({"a":2})");
    const std::vector<std::vector<std::string>> commands{
        {"--store", "", "stats"},
        {"stats", "--store", ""},
        {"load", "--run", "r1", "--snapshot", ""},
        {"load", "--run", "r1", "--output", ""},
        {"fork", "--run", "r1", "--from", "1", "--to-run", ""},
        {"runs", "--user", ""},
        {"prune", "--keep-last", "1", "--older-than", "", "--yes"},
        {"prune", "--keep-last", "1", "--user", "", "--yes"},
        {"delete", "--run", "r1", "--thread", "", "--yes"},
    };
    for (const auto& command : commands) {
        expect_error(run(command), ErrorCode::kInvalidArgument, ": the value is empty");
    }
    expect_error(save("{}", {"--parent", ""}), ErrorCode::kInvalidArgument, "--parent: the value is empty");
    expect_error(run({"diff", "--run", "r1", ""}), ErrorCode::kInvalidArgument, "snapshot_id is \"\"");
    EXPECT_THAT(log(), SizeIs(2));
    saved(R"({"a":3})", {"--phase", ""});
    EXPECT_THAT(log({"--phase", ""}), SizeIs(3));
}

TEST_F(Cairn, WithJsonErrorsAreObjectsOnStandardError) {
    const Json usage = error_of(run({"load", "--json"}));
    EXPECT_EQ(usage["code"], "invalid_argument");
    const Json absent = error_of(run({"--json", "load", "--run", "r1"}));
    EXPECT_EQ(absent["code"], "not_found");
    EXPECT_THAT(absent["advice"].get<std::string>(), StartsWith("Name the store with --store or CAIRN_STORE"));
    saved("{}");
    const auto logged = run({"recover", "--run", "r9", "--type", "resume", "--json"});
    EXPECT_EQ(error_of(logged)["code"], "not_found") << "the object is the last line, after what was logged";
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
    ASSERT_THAT(entries, SizeIs(25));
    EXPECT_THAT(keys_of(entries[0]), ElementsAre("variable", "value", "origin", "accepts", "description", "problem"));
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
    write(".env", "A=1\n\nexport CAIRN_STORE\n");
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
echo '{"step":2, "messages":["hello"]}' | "$CAIRN" save --run demo --thread t --user me | cut -d' ' -f1
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
