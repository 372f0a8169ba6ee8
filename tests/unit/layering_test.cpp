// Goal: data flows one way, and an engine's types never leave its folder. Nobody has to remember that.
// Method: reads every #include of src/ and include/, and compares the folder that it names with the order of folders.

#include "support/source_files.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <regex>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

// The order of folders. A folder may include only earlier ones and itself.
const std::vector<std::string> kFolders{"base",          "files",  "state",    "frame", "store",
                                        "persistence",   "config", "pipeline", "wire",  "transfer",
                                        "pipeline_file", "replay", "cli"};

// The folder that each public header belongs to. cairn.h includes all headers; it is for programs.
const std::map<std::string, std::string> kPublicHeaders{
    {"call_executor.h", "base"},    {"checksum.h", "base"},      {"error.h", "base"},
    {"runtime.h", "base"},          {"types.h", "base"},         {"state.h", "state"},
    {"state_json.h", "state"},      {"store.h", "store"},        {"persistence.h", "persistence"},
    {"config.h", "config"},         {"cairn.h", "cli"},          {"dotenv.h", "config"},
    {"faulty_store.h", "store"},    {"pipeline.h", "pipeline"},  {"pipeline_events.h", "pipeline"},
    {"retention.h", "persistence"}, {"run_lease.h", "pipeline"}, {"async_store.h", "persistence"},
    {"run_events.h", "pipeline"},
};

// The places where a library's headers may be included.
const std::map<std::string, std::vector<std::string>> kLibraries{
    {"sqlite3.h", {"src/store/sqlite/"}},
    {"simdjson", {"src/state/"}},
    {"zstd", {"src/frame/"}},
    {"xxhash.h", {"src/base/", "src/frame/"}},
    {"CLI/", {"src/cli/"}},
    {"spdlog/", {"src/cli/"}},
    {"yaml-cpp/", {"src/pipeline_file/"}},
    {"nlohmann/",
     {"src/state/", "src/pipeline/", "src/wire/", "src/transfer/", "src/pipeline_file/", "src/replay/", "src/cli/",
      "include/cairn/state_json.h"}},
};

struct Include {
    std::string file;
    std::string name;
};

std::vector<Include> all_includes() {
    static const std::regex kInclude(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"])");
    std::vector<Include> includes;
    for (const char* folder : {"src", "include"}) {
        for (const std::string& file : files_below(folder, {".h", ".cpp"})) {
            for (const std::string& line : lines_of(read_file(project_path(file)))) {
                if (std::smatch match; std::regex_search(line, match, kInclude)) includes.push_back({file, match[1]});
            }
        }
    }
    return includes;
}

std::optional<std::size_t> rank_of_folder(const std::string& folder) {
    const auto found = std::ranges::find(kFolders, folder);
    if (found == kFolders.end()) return std::nullopt;
    return static_cast<std::size_t>(found - kFolders.begin());
}

std::string part(const std::string& path, std::ptrdiff_t index) {
    const std::filesystem::path parts(path);
    return std::next(parts.begin(), index)->string();
}

// Returns the folder of the project that a file or an include belongs to, or "" if it is not the project's.
std::string folder_of(const std::string& path) {
    const auto public_header = [](const std::string& name) {
        const auto found = kPublicHeaders.find(name);
        return found == kPublicHeaders.end() ? "unlisted public header " + name : found->second;
    };
    if (path.starts_with("include/cairn/")) return public_header(part(path, 2));
    if (path.starts_with("cairn/")) return public_header(part(path, 1));
    if (path.starts_with("src/")) return part(path, 1);
    return std::filesystem::exists(project_path("src/" + path)) ? part(path, 0) : "";
}

TEST(Layering, EveryFolderAndPublicHeaderHasItsPlaceInTheOrder) {
    for (const std::string& file : files_below("src", {".h", ".cpp"})) {
        EXPECT_TRUE(rank_of_folder(folder_of(file))) << file << ": name its folder in kFolders";
    }
    for (const std::string& file : files_below("include", {".h"})) {
        EXPECT_TRUE(rank_of_folder(folder_of(file))) << file << ": name it in kPublicHeaders";
    }
}

TEST(Layering, AFolderOnlyIncludesWhatStandsBeforeIt) {
    std::size_t checked = 0;
    for (const Include& include : all_includes()) {
        const std::string target = folder_of(include.name);
        if (target.empty()) continue;
        ++checked;
        EXPECT_LE(rank_of_folder(target), rank_of_folder(folder_of(include.file)))
            << include.file << " includes " << include.name;
    }
    EXPECT_GT(checked, 50U) << "the test no longer sees the includes";
}

TEST(Layering, TestsOfOthersAndBenchmarksNeedNothingOfTheCommandLine) {
    std::size_t checked = 0;
    for (const char* folder : {"tests", "bench", "fuzz", "examples", "bindings"}) {
        for (const std::string& file : files_below(folder, {".h", ".cpp"})) {
            if (file.starts_with("tests/cli/")) continue;
            ++checked;
            for (const std::string& line : lines_of(read_file(project_path(file)))) {
                EXPECT_FALSE(line.starts_with("#include \"cli/")) << file << ": " << line;
            }
        }
    }
    EXPECT_GT(checked, 100U) << "the test no longer sees the files";
}

TEST(Layering, AStoreIsOnlyKnownToTheFunctionThatOpensIt) {
    for (const Include& include : all_includes()) {
        if (!include.name.starts_with("store/memory/") && !include.name.starts_with("store/sqlite/")) continue;
        const std::string own_folder = "src/" + std::filesystem::path(include.name).parent_path().generic_string();
        EXPECT_TRUE(include.file == "src/store/open_store.cpp" || include.file.starts_with(own_folder))
            << include.file << " includes " << include.name;
    }
}

TEST(Layering, AnEnginesHeadersNeverLeaveTheirFolder) {
    std::size_t checked = 0;
    for (const Include& include : all_includes()) {
        for (const auto& [library, allowed] : kLibraries) {
            if (!include.name.starts_with(library)) continue;
            ++checked;
            const auto is_inside = [&](const std::string& place) { return include.file.starts_with(place); };
            EXPECT_TRUE(std::ranges::any_of(allowed, is_inside)) << include.file << " includes " << include.name;
        }
    }
    EXPECT_GE(checked, 5U) << "the test no longer sees the includes";
}

// An attacker who chooses the keys of a table with std::hash can turn it into a list (src/base/text_hash.h).
TEST(Layering, TablesOfTextsHashWithAKeyThatNobodyKnows) {
    static const std::regex kTableOfTexts(R"(std::unordered_(multi)?(set|map)<(const )?std::string)");
    std::size_t checked = 0;
    for (const char* folder : {"src", "bindings/python/src"}) {
        for (const std::string& file : files_below(folder, {".h", ".cpp"})) {
            for (const std::string& line : lines_of(read_file(project_path(file)))) {
                if (!std::regex_search(line, kTableOfTexts)) continue;
                ++checked;
                EXPECT_TRUE(line.contains("TextHash")) << file << ": " << line;
            }
        }
    }
    EXPECT_GE(checked, 4U) << "the test no longer sees the tables";
}

// Clang checks who holds a mutex only if the mutex and the locks are ours (base/mutex.h).
TEST(Layering, MutexesAreTheOnesThatTheCompilerChecks) {
    static const std::regex kUnchecked(
        R"(std::(recursive_|timed_|shared_|shared_timed_|recursive_timed_)?mutex\b|std::condition_variable|)"
        R"(std::(unique_lock|lock_guard|scoped_lock|shared_lock)\b)");
    // A public header includes nothing of src/, so RunEvents has a plain mutex, which its source locks.
    static const std::vector<std::string> kExcepted{"src/base/mutex.h", "src/pipeline/events/run_events.cpp"};
    std::size_t checked = 0;
    for (const char* folder : {"src", "bindings/python/src"}) {
        for (const std::string& file : files_below(folder, {".h", ".cpp"})) {
            if (std::ranges::find(kExcepted, file) != kExcepted.end()) continue;
            ++checked;
            for (const std::string& line : lines_of(read_file(project_path(file)))) {
                EXPECT_FALSE(std::regex_search(line, kUnchecked)) << file << ": " << line;
            }
        }
    }
    EXPECT_GT(checked, 100U) << "the test no longer sees the files";
}

// What a binding needs of the core is public. Only headers that stand by themselves are shared with it.
TEST(Layering, ABindingUsesThePublicApi) {
    static const std::vector<std::string> kShared{"base/mutex.h", "base/per_process.h", "base/thread_annotations.h"};
    static const std::regex kOwnSource(R"re(^\s*#\s*include\s*"([^"]+)")re");
    std::size_t checked = 0;
    for (const std::string& file : files_below("bindings/python/src", {".h", ".cpp"})) {
        for (const std::string& line : lines_of(read_file(project_path(file)))) {
            std::smatch match;
            if (!std::regex_search(line, match, kOwnSource)) continue;
            ++checked;
            const std::string name = match[1];
            EXPECT_TRUE(std::filesystem::exists(project_path("bindings/python/src/" + name)) ||
                        std::ranges::find(kShared, name) != kShared.end())
                << file << " includes " << name;
        }
    }
    EXPECT_GT(checked, 30U) << "the test no longer sees the includes";
}

TEST(Layering, EveryTestFileIsBuilt) {
    std::size_t checked = 0;
    for (const std::string& file : files_below("tests", {"_test.cpp"})) {
        const std::filesystem::path path(file);
        const std::string build_file = read_file(project_path((path.parent_path() / "CMakeLists.txt").string()));
        EXPECT_NE(build_file.find(path.filename().string()), std::string::npos) << file << " is in no CMakeLists.txt";
        ++checked;
    }
    EXPECT_GE(checked, 20U) << "the test no longer sees the tests";
}

}  // namespace
}  // namespace cairn::test
