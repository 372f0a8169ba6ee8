// Goal: a user who does not know what to type next is told: by errors with fitting advice, by help, the manual page
// and completion, and by lists that use the names a person knows.
// Method: runs the built program. The shells read the completions themselves where they are installed.

#include "cli/program_fixture.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <regex>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class Guidance : public Cairn {
protected:
    static bool is_installed(const std::string& program) {
        return run_program("/bin/sh", {"-c", "command -v " + program}).exit_code == 0;
    }
};

TEST_F(Guidance, AMistypedWordIsNamedWithTheOneThatWasMeant) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
        {{"lod"}, "\"lod\" is no command: did you mean load?"},
        {{"laod", "--run", "r1"}, "\"laod\" is no command: did you mean load?"},
        {{"help", "rns"}, "\"rns\" is no command: did you mean run"},
        {{"load", "--rn", "r1"}, "\"cairn load\" has no option --rn: did you mean --run?"},
        {{"load", "--rum=r1"}, "\"cairn load\" has no option --rum: did you mean --run?"},
        {{"load", "--run", "r1", "--snap", "3"}, "has no option --snap: did you mean --snapshot?"},
        {{"recover", "--run", "r1", "--type", "resume", "--raeson", "x"},
         "has no option --raeson: did you mean --reason?"},
        {{"--jsn"}, "\"cairn\" has no option --jsn: did you mean --json?"},
    };
    for (const auto& [arguments, words] : cases) expect_error(run(arguments), ErrorCode::kInvalidArgument, words);
    EXPECT_THAT(run({"xyzzy"}).errors, Not(HasSubstr("did you mean")));
}

TEST_F(Guidance, AWrongChoiceOrAWordTooManyIsNamedWithWhatWasMeant) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
        {{"recover", "--run", "r1", "--type", "rolback"},
         "--type: \"rolback\" is none of resume, rollback, restart: did you mean rollback? `cairn recover --help` "
         "lists "
         "what it accepts.\n"},
        {{"recover", "--run", "r1", "--type", "xyzzy"}, "is none of resume, rollback, restart. `cairn recover --help`"},
        {{"-v"}, "\"cairn\" has no option -v: did you mean -V? `cairn --help` lists the commands.\n"},
        {{"lod"}, "\"lod\" is no command: did you mean load? `cairn --help` lists the commands.\n"},
        {{"load", "r1"}, "\"cairn load\" takes no argument \"r1\": did you mean --run r1? `cairn load --help`"},
        {{"load", "--run", "r1", "more"}, "\"cairn load\" takes no argument \"more\". `cairn load --help`"},
        {{"run", "p.yaml", "more"}, "\"cairn run\" takes no argument \"more\""},
    };
    for (const auto& [arguments, words] : cases) expect_error(run(arguments), ErrorCode::kInvalidArgument, words);
}

TEST_F(Guidance, TheHelpListsEveryExitCodeInOrder) {
    const std::string help = run({"--help"}).output;
    const auto begin = help.find("Exit codes:");
    ASSERT_NE(begin, std::string::npos);
    const std::string text = help.substr(begin, help.find("Examples:") - begin);
    std::vector<int> codes;
    static const std::regex kCode(R"(([0-9]+) [a-zC])");
    for (std::sregex_iterator at(text.begin(), text.end(), kCode), end; at != end; ++at) {
        codes.push_back(std::stoi((*at)[1]));
    }
    EXPECT_TRUE(std::ranges::is_sorted(codes)) << text;
    for (const int code : {0, 1, 2, 16, 20, 129, 130, 143}) EXPECT_THAT(codes, testing::Contains(code)) << text;
}

TEST_F(Guidance, ASettingMisspeltIsToldAndStopsNothing) {
    const auto result = save("{}", {}, {{"CAIRN_STOR", "sqlite:other.db"}});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.errors, HasSubstr("CAIRN_STOR is no setting: did you mean CAIRN_STORE?"));
    EXPECT_EQ(std::ranges::count(result.errors, '\n'), 1);
    EXPECT_THAT(run({"config"}, "", {{"OPTIMIZED_PERSISTANCE_CACHE_SIZE", "5"}}).errors,
                HasSubstr("did you mean OPTIMIZED_PERSISTENCE_CACHE_SIZE?"));
    write(".env", "CAIRN_LOGLEVEL=debug\n");
    EXPECT_THAT(run({"runs"}).errors, HasSubstr("CAIRN_LOGLEVEL is no setting: did you mean CAIRN_LOG_LEVEL?"));
}

TEST_F(Guidance, AVariableOfSomebodysOwnIsNotedByConfigAlone) {
    saved("{}");
    const Environment own{{"CAIRN_FROB", "1"}, {"CAIRN_STEP", "of a pipeline"}, {"CAIRN", "x"}};
    EXPECT_THAT(run({"runs"}, "", own).errors, IsEmpty());
    EXPECT_EQ(run({"config"}, "", own).errors, "note: CAIRN_FROB is no setting of cairn, and is not looked at\n");
}

TEST_F(Guidance, AFileThatMayNotBeReadIsNotTheCommandsFault) {
    write("secret.json", "{}");
    std::filesystem::permissions(folder_ / "secret.json", std::filesystem::perms::none);
    const auto refused = save("", {"secret.json"});
    if (refused.exit_code == 0) GTEST_SKIP() << "this user may read every file";
    EXPECT_THAT(refused.errors, AllOf(HasSubstr("cannot be read"), HasSubstr("Let your user read the file")));
}

TEST_F(Guidance, AdviceFitsItsCase) {
    const auto no_store = run({"runs", "--store", "sqlite:none.db"});
    expect_error(no_store, ErrorCode::kNotFound, "none.db");
    EXPECT_THAT(no_store.errors, AllOf(HasSubstr("--store or CAIRN_STORE"), Not(HasSubstr("lists what there is"))));
    saved("{}");
    const std::vector<std::vector<std::string>> absent_files{
        {"save", "--run", "r1", "--thread", "t1", "--user", "u1", "none.json"},
        {"import", "none.jsonl"},
        {"run", "none.yaml"},
        {"replay", "none.jsonl"},
        {"load", "--run", "r1", "--output", "none/state.json"},
    };
    for (const auto& command : absent_files) {
        const auto result = run(command);
        EXPECT_EQ(result.exit_code, exit_code_of(ErrorCode::kNotFound)) << result.errors;
        EXPECT_THAT(result.errors, EndsWith("Check the path.\n")) << command.front();
    }
    EXPECT_THAT(run({"load", "--run", "r9"}).errors,
                AllOf(HasSubstr("`cairn runs` lists what there is"), Not(HasSubstr("owner "))));
    EXPECT_THAT(run({"load", "--run", "r9", "--user", "u9"}).errors, HasSubstr("under this owner"));
    for (const char* snapshot : {"77", "0193-none"}) {
        EXPECT_THAT(run({"load", "--run", "r1", "--snapshot", snapshot}).errors,
                    AllOf(HasSubstr("`cairn log --run "), Not(HasSubstr("under this owner"))));
        EXPECT_THAT(run({"recover", "--run", "r1", "--type", "rollback", "--to", snapshot}).errors,
                    AllOf(HasSubstr("`cairn log --run "), Not(HasSubstr("under this owner"))));
    }
    EXPECT_THAT(run({"load", "--run", "r9", "--snapshot", "77"}).errors, HasSubstr("there is no run \"r9\""));
    EXPECT_THAT(run({"fork", "--run", "r1", "--from", "1", "--to-run", "r1"}).errors,
                EndsWith("Give another --to-run, or leave it out to go on in the old run.\n"));
    expect_error(run({"recover", "--run", "r1", "--type", "rollback"}), ErrorCode::kInvalidArgument,
                 "--type rollback needs --to SNAPSHOT");
    expect_error(run({"recover", "--run", "r1", "--type", "resume", "--to", "1"}), ErrorCode::kInvalidArgument,
                 "--to goes with --type rollback");
}

TEST_F(Guidance, AnAgentsStandardErrorKeepsItsLines) {
    write("p.yaml",
          "name: p\nagents: {a: {command: [sh, -c, 'printf \"one\\\\n  two\\\\nthree\\\\n\" >&2; exit 3']}}\nsteps: "
          "[{step: a}]\n");
    const auto failed = run({"run", "p.yaml", "--json"});
    const Json error = Json::parse(last_line_of(failed.errors))["error"];
    EXPECT_EQ(error["code"], "agent_failed");
    EXPECT_THAT(error["message"].get<std::string>(), EndsWith("exited with code 3: one\n  two\nthree"));
    const auto shown = run({"run", "p.yaml", "--run", "again"});
    EXPECT_EQ(shown.exit_code, exit_code_of(ErrorCode::kAgentFailed));
    EXPECT_THAT(shown.errors, HasSubstr("exited with code 3: one\n    two\n  three\nMend what the agent says"));
    EXPECT_THAT(shown.errors, ContainsRegex("\\[0/1\\] a failed: .* code 3: one\n    two\n  three\n\\["));
}

TEST_F(Guidance, HelpAndVersionAreCommandsTooAndNeedNoSettings) {
    const Environment broken{{"CAIRN_LOG_LEVEL", "loud"}};
    EXPECT_EQ(run({"help"}, "", broken).output, run({"--help"}).output);
    EXPECT_EQ(run({"help", "load"}, "", broken).output, run({"load", "--help"}).output);
    for (const std::vector<std::string>& arguments : {std::vector<std::string>{"version"}, {"-V"}, {"--version"}}) {
        EXPECT_THAT(run(arguments, "", broken).output, MatchesRegex("cairn [0-9]+\\.[0-9]+\\.[0-9]+\n"));
    }
    EXPECT_THAT(parsed(run({"version", "--json"}))["version"].get<std::string>(), MatchesRegex("[0-9.]+"));
}

TEST_F(Guidance, ConfigMarksAStoreThatCannotWork) {
    std::filesystem::create_directory(folder_ / "folder");
    const auto problem_of = [&](const std::string& url) {
        for (const Json& entry : parsed(run({"config", "--json"}, "", {{"CAIRN_STORE", url}}))) {
            if (entry["variable"] == "CAIRN_STORE") return entry["problem"];
        }
        return Json();
    };
    EXPECT_EQ(problem_of("sqlite:cairn.db"), Json());
    EXPECT_EQ(problem_of("memory:"), Json());
    EXPECT_THAT(problem_of("postgresql://me:secret@h/d").get<std::string>(),
                AllOf(HasSubstr("is unknown"), Not(HasSubstr("secret"))));
    EXPECT_THAT(problem_of("mongodb://h").get<std::string>(), HasSubstr("is unknown"));
    EXPECT_THAT(problem_of("sqlite:none/x.db").get<std::string>(), HasSubstr("there is no folder \"none\""));
    EXPECT_THAT(problem_of("sqlite:folder").get<std::string>(), HasSubstr("is a folder"));
    EXPECT_THAT(run({"config"}, "", {{"CAIRN_STORE", "mongodb://h"}}).output, HasSubstr("CANNOT WORK: store URL"));
}

TEST_F(Guidance, ConfigSaysThatDotenvIsNotRead) {
    write(".env", "CAIRN_LOG_LEVEL=debug\n");
    const auto shown = run({"config"}, "", {{"ENVIRONMENT", "production"}});
    EXPECT_EQ(shown.exit_code, 0);
    EXPECT_EQ(shown.errors, "note: .env is not read, because of ENVIRONMENT=production\n");
    EXPECT_THAT(shown.output, Not(HasSubstr("debug  ")));
}

TEST_F(Guidance, ALineOfDotenvThatIsSkippedIsToldAndStopsNothing) {
    write(".env", "KEY=\"-----BEGIN\nsecret=\n-----END\"\nodd-key=1\nCAIRN_STORE=sqlite:from_dotenv.db\n");
    const auto result = save("{}");
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_THAT(result.errors, AllOf(HasSubstr("line 4"), HasSubstr("skipped"), Not(HasSubstr("odd-key"))));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "from_dotenv.db"));
}

TEST_F(Guidance, MetadataOfASaveIsGivenAsTheLogAsksForIt) {
    saved("{}", {"--metadata", "branch=b", "--metadata", "attempt=3", "--metadata", "quoted=\"3\""});
    EXPECT_EQ(log()[0]["metadata"], Json({{"branch", "b"}, {"attempt", 3}, {"quoted", "3"}}));
    EXPECT_EQ(log({"--metadata", "attempt=3", "--metadata", "branch=b"}).size(), 1U);
    saved(R"({"b":1})", {"--metadata", R"({"branch":"c"})"});
    EXPECT_EQ(log({"--metadata", "branch=c"}).size(), 1U);
    expect_error(save("{}", {"--metadata", "branch"}), ErrorCode::kInvalidArgument, "\"branch\" is not KEY=VALUE");
}

TEST_F(Guidance, ListsNameStepsAndPipelines) {
    write("p.yaml",
          "name: my pipeline\nagents: {a: {command: [cat]}}\n"
          "steps: [{step: first, agent: a}, {parallel: [{step: left, agent: a}, {step: right, agent: a}]}]\n");
    ASSERT_EQ(run({"run", "p.yaml", "--run", "r1"}, "", kOptimised).exit_code, 0);
    EXPECT_THAT(run({"runs"}).output, AllOf(HasSubstr("PIPELINE"), HasSubstr("  my pipeline  completed  3 of 3")));
    const auto shown = run({"log", "--run", "r1"});
    EXPECT_THAT(shown.output, AllOf(HasSubstr("STEP"), HasSubstr(" first "), HasSubstr(" right ")));
}

TEST_F(Guidance, WideCharactersTakeTheirColumns) {
    for (const char* run_id : {"ab", "日本", "e\xCC\x81"}) {
        ASSERT_EQ(run({"save", "--run", run_id, "--thread", "t", "--user", "u"}, "{}").exit_code, 0);
    }
    const std::string output = run({"runs"}).output;
    EXPECT_THAT(output, HasSubstr("\nab    t "));
    EXPECT_THAT(output, HasSubstr("\n日本  t "));
    EXPECT_THAT(output, HasSubstr("\ne\xCC\x81     t "));
}

TEST_F(Guidance, OneOfSomethingIsNotSeveral) {
    saved("{}");
    EXPECT_EQ(run({"export", "--output", "x"}).output, "exported 1 snapshot of 1 run\n");
    EXPECT_EQ(run({"import", "x", "--store", "sqlite:other.db"}).output, "imported 1 snapshot of 1 run\n");
}

TEST_F(Guidance, TheManualPageHasEveryCommandVariableAndExitCode) {
    const std::string page = run({"describe", "man"}).output;
    EXPECT_THAT(page, StartsWith(".TH CAIRN 1"));
    for (const char* command : {"run", "save", "load", "log", "recover", "export", "version"}) {
        EXPECT_THAT(page, HasSubstr(std::string("\n.SS cairn ") + command)) << command;
    }
    EXPECT_THAT(page, AllOf(HasSubstr("\\fB\\-\\-on\\-conflict\\fR \\fIrebase|fail\\fR"), HasSubstr("CAIRN_FILE_MODE"),
                            HasSubstr("not_found: Check the name"), Not(HasSubstr("describe"))));
    EXPECT_THAT(page, Not(ContainsRegex("[^\x01-\x7f]")));
    if (!is_installed("groff")) GTEST_SKIP() << "groff is not installed: the page is not typeset";
    write("cairn.1", page);
    const auto typeset = run_shell("groff -man -Tutf8 -ww cairn.1 > page.txt");
    EXPECT_EQ(typeset.exit_code, 0);
    EXPECT_THAT(typeset.errors, IsEmpty());
}

TEST_F(Guidance, BashCompletesCommandsOptionsAndChoices) {
    if (!is_installed("bash")) GTEST_SKIP() << "bash is not installed";
    write("completion", run({"describe", "bash"}).output);
    const auto completed = [&](const std::string& words) {
        const std::string script = "set -u; source ./completion; COMP_WORDS=(" + words +
                                   "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _cairn; echo \"${COMPREPLY[*]}\"";
        const auto result = run_program("/usr/bin/env", {"bash", "-c", script}, {.working_folder = folder_.path()});
        EXPECT_THAT(result.errors, IsEmpty()) << words;
        return result.output;
    };
    EXPECT_EQ(completed("cairn lo"), "load log\n");
    EXPECT_EQ(completed("cairn save --on-conflict ''"), "rebase fail\n");
    EXPECT_EQ(completed("cairn load --sn"), "--snapshot\n");
    EXPECT_EQ(completed("cairn --json load --sn"), "--snapshot\n");
    EXPECT_EQ(completed("cairn --js"), "--json\n");
    EXPECT_EQ(completed("cairn help exp"), "export\n");
    EXPECT_EQ(completed("cairn load --run ''"), "\n");
    EXPECT_THAT(completed("cairn ''"), Not(HasSubstr("describe")));
}

TEST_F(Guidance, ZshAndFishCanReadTheirCompletions) {
    write("_cairn", run({"describe", "zsh"}).output);
    write("cairn.fish", run({"describe", "fish"}).output);
    EXPECT_THAT(read("_cairn"), AllOf(StartsWith("#compdef cairn\n"), HasSubstr("'--on-conflict[")));
    EXPECT_THAT(read("cairn.fish"), HasSubstr("-l on-conflict -x -a 'rebase fail'"));
    std::size_t read_by = 0;
    for (const auto& [shell, command] :
         std::array{std::pair{"zsh", "zsh -n _cairn"}, std::pair{"fish", "fish --no-execute cairn.fish"}}) {
        if (!is_installed(shell)) continue;
        const auto checked = run_shell(command);
        EXPECT_EQ(checked.exit_code, 0) << checked.errors;
        ++read_by;
    }
    if (read_by == 0) GTEST_SKIP() << "neither zsh nor fish is installed: nobody has read them";
}

}  // namespace
}  // namespace cairn::test
