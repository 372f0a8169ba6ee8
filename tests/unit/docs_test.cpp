// Goal: the documents say what the program does. A difference is found here, and not by a reader.
// Method: compares the tables of the documents with those in the code, their commands with the program's help, and
// their C++ blocks with the examples, which are compiled and run. Runs their shell and YAML blocks as they stand.

#include "support/built_program.h"
#include "support/paths.h"
#include "support/source_files.h"
#include "support/temp_dir.h"

#include <cairn/cairn.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

const std::vector<std::string> kDocuments{"README.md",         "docs/start.md",     "docs/guide.md",
                                          "docs/operating.md", "docs/reference.md", "docs/internals.md",
                                          "docs/pipelines.md"};

std::string reference() {
    return read_file(project_path("docs/reference.md"));
}

std::string trimmed(const std::string& line) {
    const auto first = line.find_first_not_of(" \t\r");
    return first == std::string::npos ? "" : line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
}

// Returns the fenced blocks of one language, as trimmed lines without blank ones, because indentation may differ.
std::vector<std::vector<std::string>> blocks_of(const std::string& document, const std::string& language) {
    std::vector<std::vector<std::string>> blocks;
    std::string open;  // the language of the open block; "```" when it has none
    for (const std::string& raw : lines_of(read_file(project_path(document)))) {
        const std::string line = trimmed(raw);
        if (line.starts_with("```")) {
            const bool opens = open.empty();
            if (opens && line.substr(3) == language) blocks.emplace_back();
            open = opens ? "```" + line.substr(3) : "";
        } else if (open == "```" + language && !line.empty()) {
            blocks.back().push_back(line);
        }
    }
    return blocks;
}

// Returns the output of `cairn NAME --help`, or of `cairn --help` for "".
const std::string& help_of(const std::string& command) {
    static std::map<std::string, std::string> known;
    const auto [entry, is_new] = known.try_emplace(command);
    if (is_new) {
        std::vector<std::string> arguments{"--help"};
        if (!command.empty()) arguments.insert(arguments.begin(), command);
        const ProgramResult help = run_cairn(arguments);
        if (help.exit_code == 0) entry->second = help.output;
    }
    return entry->second;
}

std::set<std::string> commands() {
    std::set<std::string> names;
    bool is_list = false;
    for (const std::string& line : lines_of(help_of(""))) {
        static const std::regex kCommand(R"(^  ([a-z]+)( .*)?$)");
        if (line.starts_with("Subcommands:") || line.starts_with("Commands:")) {
            is_list = true;
        } else if (line.empty()) {
            is_list = false;
        } else if (std::smatch match; is_list && std::regex_match(line, match, kCommand)) {
            names.insert(match[1]);
        }
    }
    return names;
}

std::set<std::string> options_in(const std::string& text) {
    static const std::regex kOption(R"((^|[^a-z-])(--[a-z][a-z-]+))");
    std::set<std::string> options;
    for (std::sregex_iterator at(text.begin(), text.end(), kOption), end; at != end; ++at) options.insert((*at)[2]);
    return options;
}

// Returns the options that a help text lists on lines of their own. Its examples may show options of other commands.
std::set<std::string> options_of(const std::string& command) {
    std::set<std::string> options;
    for (const std::string& line : lines_of(help_of(command))) {
        if (line.starts_with("  -")) options.merge(options_in(line.substr(0, line.find("  ", 2))));
    }
    return options;
}

// Returns the part of reference.md under "### `cairn NAME`".
std::optional<std::string> section_of(const std::string& command) {
    const std::string text = reference();
    const auto begin = text.find("\n### `cairn " + command + "`");
    if (begin == std::string::npos) return std::nullopt;
    return text.substr(begin, std::min(text.find("\n##", begin + 4), text.size()) - begin);
}

TEST(Docs, ReferenceHasEveryVariableAsTheProgramPrintsIt) {
    const auto loaded = load_config([](const std::string&) { return std::nullopt; }, "/no/such/file");
    ASSERT_TRUE(loaded) << loaded.error().to_string();
    std::string table;
    for (const ConfigEntry& entry : loaded->entries) {
        table +=
            fmt::format("| `{}` | `{}` | {} | {} |\n", entry.variable, entry.value, entry.accepts, entry.description);
    }
    EXPECT_TRUE(reference().contains(table)) << "docs/reference.md should have these rows:\n" << table;
}

TEST(Docs, ReferenceHasEveryErrorWithItsExitCode) {
    std::string table;
    for (const ErrorInfo& info : error_table()) {
        const std::string_view retry = info.retry == Retry::kNo    ? "no"
                                       : info.retry == Retry::kYes ? "yes"
                                                                   : "with the same snapshot id";
        table += fmt::format("| `{}` | {} | {} | {} |\n", info.name, info.exit_code, retry, info.advice);
    }
    EXPECT_TRUE(reference().contains(table)) << "docs/reference.md should have these rows:\n" << table;
}

// The names in the first column of the table of events.
std::vector<std::string> documented_events() {
    const std::string text = reference();
    const auto begin = text.find("\n## Events\n");
    std::vector<std::string> names;
    if (begin == std::string::npos) return names;
    for (const std::string& line : lines_of(text.substr(begin, text.find("\n## ", begin + 1) - begin))) {
        static const std::regex kRow(R"(^\| `([a-z_]+)` \| .*)");
        if (std::smatch match; std::regex_match(line, match, kRow) && match[1] != "type") names.push_back(match[1]);
    }
    return names;
}

TEST(Docs, ReferenceHasEveryEventAndNoOther) {
    std::vector<std::string> names;
    for (int type = 0; to_string(static_cast<PipelineEvent::Type>(type)) != "unknown"; ++type) {
        names.emplace_back(to_string(static_cast<PipelineEvent::Type>(type)));
    }
    EXPECT_GE(names.size(), 8U);
    names.emplace_back("agent_completed");  // the documented executor's own
    EXPECT_EQ(documented_events(), names);
}

TEST(Docs, ReferenceHasEveryCommandWithEveryOption) {
    ASSERT_GE(commands().size(), 10U) << "the test no longer finds the commands in:\n" << help_of("");
    for (const std::string& command : commands()) {
        const auto section = section_of(command);
        ASSERT_TRUE(section) << "docs/reference.md has no heading ### `cairn " << command << "`";
        for (const std::string& option : options_of(command)) {
            const bool is_common = option == "--help" || option == "--store" || option == "--json";
            EXPECT_TRUE(is_common || options_in(*section).contains(option))
                << "docs/reference.md, cairn " << command << ": " << option << " is missing";
        }
    }
}

TEST(Docs, CommandsShownExistWithTheOptionsShown) {
    std::size_t checked = 0;
    for (const std::string& document : kDocuments) {
        for (const auto& block : blocks_of(document, "sh")) {
            for (const std::string& line : block) {
                static const std::regex kCall(R"((^|[|&;(] ?|/|NAME=\S+ )cairn ([a-z]+)([^|;>&]*))");
                for (std::sregex_iterator at(line.begin(), line.end(), kCall), end; at != end; ++at, ++checked) {
                    const std::string command = (*at)[2];
                    ASSERT_TRUE(commands().contains(command)) << document << ": " << line;
                    for (const std::string& option : options_in((*at)[3])) {
                        EXPECT_TRUE(options_of(command).contains(option))
                            << document << ": " << line << "\ncairn " << command << " has no " << option;
                    }
                }
            }
        }
    }
    EXPECT_GT(checked, 10U) << "the test no longer sees the commands";
}

TEST(Docs, CppBlocksStandInExamplesThatAreCompiledAndRun) {
    std::vector<std::string> examples;  // each as trimmed lines, so that a block is a substring
    for (const std::string& file : files_below("examples", {".cpp", ".h"})) {
        std::string text = "\n";
        for (const std::string& line : lines_of(read_file(project_path(file)))) {
            if (!trimmed(line).empty()) text += trimmed(line) + "\n";
        }
        examples.push_back(text);
    }
    std::size_t checked = 0;
    for (const std::string& document : kDocuments) {
        for (const auto& block : blocks_of(document, "cpp")) {
            std::string text = "\n";
            for (const std::string& line : block) text += line + "\n";
            const auto has_block = [&](const std::string& example) { return example.contains(text); };
            EXPECT_TRUE(std::ranges::any_of(examples, has_block)) << document << " shows what no example has:" << text;
            ++checked;
        }
    }
    EXPECT_GE(checked, 5U) << "the test no longer sees the blocks";
}

TEST(Docs, ReadmeShowsTheWholeQuickstart) {
    const std::string source = read_file(project_path("examples/quickstart.cpp"));
    const std::string begin = "// README: begin\n";
    const auto from = source.find(begin) + begin.size();
    const auto until = source.find("// README: end");
    ASSERT_TRUE(source.contains(begin) && until != std::string::npos && from < until) << "the marks are gone";
    const std::string shown = source.substr(from, until - from);
    EXPECT_TRUE(read_file(project_path("README.md")).contains("```cpp\n" + shown + "```\n")) << shown;
}

TEST(Docs, QuickstartPrintsWhatTheReadmeSays) {
    const TempDir folder;
    const ProgramResult result = run_program(CAIRN_QUICKSTART, {}, {.working_folder = folder.path()});
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_EQ(result.output, "persisted: {\"step\":1,\"messages\":[\"hello\"]}\n");
    EXPECT_TRUE(read_file(project_path("README.md")).contains(trimmed(lines_of(result.output).front())));
}

// Returns the document's block of this language that contains `words`, as it stands.
std::string block_of(const std::string& document, const std::string& language, const std::string& words) {
    const std::string text = read_file(project_path(document));
    const std::string fence = "```" + language + "\n";
    for (auto from = text.find(fence); from != std::string::npos; from = text.find(fence, from + 1)) {
        const auto begin = from + fence.size();
        std::string block = text.substr(begin, text.find("```\n", begin) - begin);
        if (block.contains(words)) return block;
    }
    ADD_FAILURE() << document << " has no block with " << words;
    return "";
}

std::string readme_block(const std::string& language, const std::string& words) {
    return block_of("README.md", language, words);
}

// Returns a document's shell blocks, one after the other.
std::string shell_blocks_of(const std::string& document) {
    std::string script;
    for (const auto& block : blocks_of(document, "sh")) {
        for (const std::string& line : block) script += line + "\n";
    }
    return script;
}

void replace(std::string& text, const std::string& what, const std::string& with) {
    const auto at = text.find(what);
    ASSERT_NE(at, std::string::npos) << what << " is not in:\n" << text;
    text.replace(at, what.size(), with);
}

// A folder as it is after `make build`. Nothing else is installed: the `jq` in its path does not work.
class Readme : public testing::Test {
protected:
    void SetUp() override {
        std::filesystem::create_directory(folder_ / "build");
        std::filesystem::create_directory_symlink(std::filesystem::path(cairn_program()).parent_path(),
                                                  folder_ / "build/release");
        std::filesystem::create_directory(folder_ / "broken");
        write("broken/jq", "#!/bin/sh\nexit 1\n");
        std::filesystem::permissions(folder_ / "broken/jq", std::filesystem::perms::owner_all);
    }

    void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

    ProgramResult run(const std::string& script) const {
        return run_program("/bin/sh", {"-c", "PATH=$PWD/broken:$PATH\n" + script}, {.working_folder = folder_.path()});
    }

    TempDir folder_;
};

TEST_F(Readme, TheShellBlockWorksAsItStands) {
    const auto shown = run("set -e\n" + readme_block("sh", "cairn recover"));
    EXPECT_EQ(shown.exit_code, 0) << shown.errors;
    EXPECT_EQ(shown.errors, "");
    for (const char* words :
         {"deduplicated", "~ /answer  null -> 42", "\n{\"step\":2,\"answer\":42}\n", "all is well"}) {
        EXPECT_TRUE(shown.output.contains(words)) << words << " is not in:\n" << shown.output;
    }
}

// Here the agent kills the run, at the moment for which the README's reader waits.
TEST_F(Readme, ThePipelineIsKilledAndGoesOnAsItStands) {
    std::string agent = readme_block("python", "agent.py");
    replace(agent, "time.sleep(5)", "os.path.exists('killed') or (open('killed', 'w'), os.kill(os.getppid(), 9))");
    write("agent.py", agent);
    write("analyst.yaml", readme_block("yaml", "analyst.yaml"));
    std::string script = readme_block("sh", "cairn run analyst.yaml");
    replace(script, "KILL 3", "KILL 600");
    const auto shown = run("export PATH=\"$PWD/build/release:$PATH\"\n" + script);
    EXPECT_EQ(shown.exit_code, 0) << shown.errors;
    EXPECT_TRUE(std::filesystem::exists(folder_ / "killed"));
    for (const char* words : {"  interrupted  ", "completed (resumed)"}) {
        EXPECT_TRUE(shown.output.contains(words)) << words << " is not in:\n" << shown.output;
    }
}

TEST_F(Readme, ThePipelineOfTheManualRunsAsItStands) {
    write("pipeline.yaml", block_of("docs/pipelines.md", "yaml", "# pipeline.yaml"));
    const auto shown =
        run("set -e\nexport PATH=\"$PWD/build/release:$PATH\"\n" + block_of("docs/pipelines.md", "sh", "--dry-run"));
    EXPECT_EQ(shown.exit_code, 0) << shown.errors;
    for (const char* words : {"Nothing was run or written", "completed  4 of 4"}) {
        EXPECT_TRUE(shown.output.contains(words)) << words << " is not in:\n" << shown.output;
    }
}

TEST_F(Readme, TheRunThatWaitsForAPersonDoesSoAsItStands) {
    write("letter.yaml", block_of("docs/pipelines.md", "yaml", "# letter.yaml"));
    const auto shown =
        run("export PATH=\"$PWD/build/release:$PATH\"\n" + block_of("docs/pipelines.md", "sh", "cairn approve"));
    EXPECT_EQ(shown.exit_code, 0) << shown.errors;
    EXPECT_FALSE(shown.errors.contains("cairn: ")) << shown.errors;
    for (const char* words : {"paused at publish", "{\"letter\":\"Dear Ada\"}", "completed (resumed)"}) {
        EXPECT_TRUE(shown.output.contains(words)) << words << " is not in:\n" << shown.output;
    }
}

TEST_F(Readme, TheFirstTenMinutesGoAsTheyStand) {
    std::string script = shell_blocks_of("docs/start.md");
    replace(script, "make build\n", "");
    const auto shown = run("set -e\n" + script);
    EXPECT_EQ(shown.exit_code, 0) << shown.errors;
    EXPECT_EQ(shown.errors, "");
}

TEST_F(Readme, TheOperatorsCommandsWorkAsTheyStand) {
    const auto shown =
        run("set -e\nexport PATH=\"$PWD/build/release:$PATH\"\n"
            "echo '{\"a\":1}' | cairn save --store sqlite:agents.db --run r1 --thread t1 --user u1\n" +
            shell_blocks_of("docs/operating.md"));
    EXPECT_EQ(shown.exit_code, 0) << shown.errors;
    EXPECT_TRUE(std::filesystem::exists(folder_ / "backup.db"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "new.db"));
    EXPECT_TRUE(shown.output.contains("all is well")) << shown.output;
}

TEST(Docs, GuideRunsAndSkipsTheRepeatedSave) {
    const TempDir folder;
    const ProgramResult result = run_program(CAIRN_GUIDE, {}, {.working_folder = folder.path()});
    ASSERT_EQ(result.exit_code, 0) << result.errors;
    EXPECT_EQ(result.errors, "");
    EXPECT_TRUE(result.output.contains(": persisted\n")) << result.output;
    EXPECT_TRUE(result.output.contains(": deduplicated\n")) << result.output;
    EXPECT_TRUE(result.output.contains("somebody else has saved since")) << result.output;
    EXPECT_TRUE(result.output.contains("step 1\n")) << result.output;
}

TEST(Docs, LinksBetweenDocumentsLeadSomewhere) {
    std::size_t checked = 0;
    std::vector<std::string> documents = kDocuments;
    documents.insert(documents.end(), {"CONTRIBUTING.md", "CHANGELOG.md"});
    for (const std::string& document : documents) {
        const std::string text = read_file(project_path(document));
        static const std::regex kLink(R"(\]\(([^)#:]+)(#[^)]*)?\))");
        for (std::sregex_iterator at(text.begin(), text.end(), kLink), end; at != end; ++at, ++checked) {
            const auto target = project_path(document).parent_path() / (*at)[1].str();
            EXPECT_TRUE(std::filesystem::exists(target)) << document << " links to " << (*at)[1];
        }
    }
    EXPECT_GE(checked, 5U) << "the test no longer sees the links";
}

}  // namespace
}  // namespace cairn::test
