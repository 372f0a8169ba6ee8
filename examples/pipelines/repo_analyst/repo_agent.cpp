// repo_agent: the three agents of the pipeline beside it, in one program. Each reads the state on standard input and
// prints its changes as a JSON Merge Patch.
//
//   repo_agent survey|rank_files|report

#include "agent.h"
#include "key_files.h"
#include "tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace repo_analyst {
namespace {

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// Lets a demonstration show which agents ran, and how often. It is not part of the state.
void write_journal() {
    const std::string path = variable("REPO_ANALYST_JOURNAL");
    if (path.empty()) return;
    std::ofstream(path, std::ios::app) << variable("CAIRN_STEP") + " attempt " + variable("CAIRN_ATTEMPT") + "\n";
}

void pause(const Json& settings) {
    std::this_thread::sleep_for(std::chrono::duration<double>(settings.value("pause", 0.0)));
}

// Each line on standard error is progress.
void tell(const std::string& message) {
    fmt::print(stderr, "{}\n", message);
}

SourceTree tree_of(const Json& state) {
    if (!state.contains("folder") || !state["folder"].is_string()) {
        throw std::runtime_error("the state names no folder: give --set folder=PATH");
    }
    return SourceTree(state["folder"].get<std::string>());
}

Json survey(const Json& state, const Json& /*settings*/) {
    const SourceTree tree = tree_of(state);
    const AgentLimits limits;
    Json files = Json::array();
    std::vector<std::string> waiting{""};
    std::size_t folders = 0;
    std::uintmax_t bytes = 0;
    for (; folders < waiting.size() && folders < limits.folders_max; ++folders) {
        tell("folder " + waiting[folders]);
        for (const Entry& entry : tree.list(waiting[folders])) {
            if (entry.is_folder) waiting.push_back(entry.path);
            if (entry.is_folder || files.size() == limits.files_max) continue;
            files.push_back({{"path", entry.path}, {"language", language_of(entry.path)}, {"bytes", entry.bytes}});
            bytes += entry.bytes;
        }
    }
    if (files.empty())
        throw std::runtime_error(
            "no source files there: is the folder right? Paths begin at the "
            "pipeline's folder unless they are absolute");
    return {{"counters", {{"folders", folders}, {"files", files.size()}, {"bytes", bytes}}}, {"files", files}};
}

std::vector<Entry> files_of(const Json& state) {
    std::vector<Entry> files;
    for (const Json& file : state["files"]) files.push_back({.path = file["path"], .bytes = file["bytes"]});
    return files;
}

Json rank_files(const Json& state, const Json& settings) {
    const SourceTree tree = tree_of(state);
    const std::vector<Entry> files = files_of(state);
    std::vector<std::string> sources;
    for (const Entry& file : files) {
        if (is_program_text(file)) sources.push_back(file.path);
    }
    std::vector<std::pair<std::size_t, std::string>> ranking;  // files that mention it, its path
    for (const Entry& candidate : key_file_candidates(files)) {
        tell("who mentions " + candidate.path);
        const std::size_t mentions = tree.search(spoken_name(candidate), sources).files;
        if (mentions > 0) ranking.emplace_back(mentions, candidate.path);
    }
    std::ranges::sort(ranking, std::greater{});
    ranking.resize(std::min(ranking.size(), settings.value("files", std::size_t{8})));
    Json key_files = Json::array();
    for (const auto& [mentions, path] : ranking) {
        const std::string introduction = introduction_of(path, tree.read(path, AgentLimits{}.lines_read).text);
        key_files.push_back({{"path", path}, {"mentioned_in", mentions}, {"introduction", introduction}});
    }
    return {{"key_files", key_files}};
}

Json report(const Json& state, const Json& /*settings*/) {
    Json counters = state["counters"];
    std::size_t lines = 0;
    for (const auto& [language, count] : state["languages"].items()) lines += count.get<std::size_t>();
    counters["lines"] = lines;
    const Json findings{{"languages", state["languages"]},
                        {"key_files", state["key_files"]},
                        {"concerns", state.value("concerns", Json::object())}};
    return {{"counters", counters}, {"report", render_report({{"counters", counters}, {"findings", findings}})}};
}

int run(const std::string& name) {
    const std::map<std::string, std::function<Json(const Json&, const Json&)>> agents{
        {"survey", survey}, {"rank_files", rank_files}, {"report", report}};
    const auto agent = agents.find(name);
    if (agent == agents.end()) throw std::runtime_error("name an agent: survey, rank_files or report");
    write_journal();
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    const std::string with = variable("CAIRN_WITH");
    const Json settings = Json::parse(with.empty() ? "{}" : with);
    const Json patch = agent->second(Json::parse(text), settings);
    pause(settings);
    fmt::print("{}\n", patch.dump());
    return 0;
}

}  // namespace
}  // namespace repo_analyst

int main(int argument_count, char** arguments) try {
    const std::span words(arguments, static_cast<std::size_t>(argument_count));
    return repo_analyst::run(words.size() == 2 ? words[1] : "");
} catch (const std::exception& error) {
    std::fputs((std::string("repo_agent: ") + error.what() + "\n").c_str(), stderr);
    return 1;
}
