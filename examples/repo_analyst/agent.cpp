#include "agent.h"

#include "key_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

namespace repo_analyst {
namespace {

using cairn::AgentPhase;
using cairn::CheckpointType;
using cairn::Status;

constexpr std::array<std::string_view, 6> kGoals{
    "survey the folders",         "count lines by language",          "read the files that others lean on",
    "look for possible concerns", "make sure that nothing has moved", "write the report"};

// Text that is worth a second look wherever it occurs; none of it is wrong by itself.
constexpr std::array<std::string_view, 10> kConcerns{"TODO",  "FIXME", "strcpy(",    "sprintf(",         "system(",
                                                     "eval(", "goto ", "const_cast", "reinterpret_cast", "catch (...)"};

std::string describe(const std::vector<Entry>& entries) {
    std::string text;
    for (const Entry& entry : entries) {
        text += file_name(entry.path) + (entry.is_folder ? "/\n" : fmt::format("  {} bytes\n", entry.bytes));
    }
    return text.empty() ? "nothing here to read" : text;
}

std::string describe(const SearchResult& result) {
    std::string text = fmt::format("{} lines in {} files\n", result.matches, result.files);
    for (const Match& match : result.first) text += fmt::format("{}:{}: {}\n", match.path, match.line, match.text);
    return text;
}

void add(Json& counter, std::size_t amount) {
    counter = counter.get<std::size_t>() + amount;
}

}  // namespace

Agent::Agent(const SourceTree& tree, const std::string& tree_name, SaveState save, AgentLimits limits)
    : tree_(tree), save_(std::move(save)), limits_(limits) {
    state_["task"] = "Describe the source tree " + tree_name + " to somebody who is new to it";
    state_["plan"] = Json::array();
    for (const std::string_view goal : kGoals) state_["plan"].push_back({{"goal", goal}, {"status", "open"}});
    state_["counters"] = {{"tool_calls", 0}, {"folders", 0}, {"files", 0}, {"bytes", 0}, {"lines", 0}};
    state_["findings"] = {{"languages", Json::object()}, {"key_files", Json::array()}, {"concerns", Json::object()}};
    state_["messages"] = Json::array();
    state_["report"] = nullptr;
}

cairn::Result<Json> Agent::run() {
    constexpr std::array kWork{&Agent::initialize,        &Agent::survey,         &Agent::count_lines,
                               &Agent::choose_key_files,  &Agent::read_key_files, &Agent::search_concerns,
                               &Agent::check_for_changes, &Agent::write_report};
    for (const auto work : kWork) {
        if (const Status done = (this->*work)(); !done) return std::unexpected(done.error());
    }
    return state_;
}

Status Agent::initialize() {
    phase_ = AgentPhase::kInitialization;
    state_["messages"].push_back({{"role", "system"}, {"content", "Use the tools list, count, search and read."}});
    state_["messages"].push_back({{"role", "user"}, {"content", state_["task"]}});
    return save(CheckpointType::kAuto);
}

Status Agent::survey() {
    if (auto entered = enter_phase(AgentPhase::kTriage, kGoals[0]); !entered) return entered;
    std::vector<std::string> waiting{""};
    for (std::size_t next = 0; next < waiting.size() && next < limits_.folders_max; ++next) {
        Folder folder{.path = waiting[next], .entries = tree_.list(waiting[next])};
        for (const Entry& entry : folder.entries) {
            if (entry.is_folder) waiting.push_back(entry.path);
            if (entry.is_folder || files_.size() == limits_.files_max) continue;
            files_.push_back(entry);
            if (is_program_text(entry)) source_paths_.push_back(entry.path);
            add(state_["counters"]["files"], 1);
            add(state_["counters"]["bytes"], entry.bytes);
        }
        add(state_["counters"]["folders"], 1);
        observe("list", {{"folder", folder.path}}, describe(folder.entries));
        folders_.push_back(std::move(folder));
        if (auto saved = save(CheckpointType::kAuto); !saved) return saved;
    }
    finish_goal();
    return {};
}

Status Agent::count_lines() {
    if (auto entered = enter_phase(AgentPhase::kDataAnalysis, kGoals[1]); !entered) return entered;
    for (const Folder& folder : folders_) {
        Json lines_by_language = Json::object();
        for (const Entry& file : folder.entries) {
            if (file.is_folder) continue;
            const LineCount count = tree_.count(file.path);
            const std::string language(language_of(file.path));
            for (Json* languages : {&lines_by_language, &state_["findings"]["languages"]}) {
                (*languages)[language] = languages->value(language, std::size_t{0}) + count.lines;
            }
            add(state_["counters"]["lines"], count.lines);
        }
        if (lines_by_language.empty()) continue;
        observe("count", {{"folder", folder.path}}, lines_by_language.dump());
        if (auto saved = save(CheckpointType::kIntermediate); !saved) return saved;
    }
    finish_goal();
    return {};
}

// Picks the largest files that others can refer to, then those of them that most other files refer to.
Status Agent::choose_key_files() {
    if (auto entered = enter_phase(AgentPhase::kDataAnalysis, kGoals[2]); !entered) return entered;
    std::vector<std::pair<std::size_t, std::string>> ranking;  // files that mention it, its path
    for (const Entry& candidate : key_file_candidates(files_)) {
        const SearchResult found = tree_.search(spoken_name(candidate), source_paths_);
        if (found.files > 0) ranking.emplace_back(found.files, candidate.path);
        observe("search", {{"text", spoken_name(candidate)}}, describe(found));
        if (auto saved = save(CheckpointType::kIntermediate); !saved) return saved;
    }
    std::ranges::sort(ranking, std::greater{});
    ranking.resize(std::min(ranking.size(), limits_.key_files));
    for (const auto& [mentions, path] : ranking) {
        state_["findings"]["key_files"].push_back({{"path", path}, {"mentioned_in", mentions}});
    }
    return save(CheckpointType::kAuto);
}

Status Agent::read_key_files() {
    for (Json& key_file : state_["findings"]["key_files"]) {
        const auto path = key_file["path"].get<std::string>();
        const Excerpt excerpt = tree_.read(path, limits_.lines_read);
        key_file["introduction"] = introduction_of(path, excerpt.text);
        observe("read", {{"path", path}, {"lines", excerpt.lines}}, excerpt.text);
        if (auto saved = save(CheckpointType::kAuto); !saved) return saved;
    }
    finish_goal();
    return {};
}

Status Agent::search_concerns() {
    if (auto entered = enter_phase(AgentPhase::kActionPlanning, kGoals[3]); !entered) return entered;
    for (const std::string_view concern : kConcerns) {
        const SearchResult found = tree_.search(concern, source_paths_);
        if (found.matches > 0) {
            const std::string first = fmt::format("{}:{}", found.first.front().path, found.first.front().line);
            state_["findings"]["concerns"][std::string(concern)] = {{"lines", found.matches}, {"first", first}};
        }
        observe("search", {{"text", concern}}, describe(found));
        if (auto saved = save(CheckpointType::kAuto); !saved) return saved;
    }
    finish_goal();
    return {};
}

// A check that finds nothing new leaves the state unchanged. The state is saved all the same, as agents do that save
// after every step: the optimised service skips these saves.
Status Agent::check_for_changes() {
    if (auto entered = enter_phase(AgentPhase::kActionPlanning, kGoals[4]); !entered) return entered;
    for (Folder& folder : folders_) {
        if (auto now = tree_.list(folder.path); now != folder.entries) {
            folder.entries = std::move(now);
            observe("list", {{"folder", folder.path}}, "changed since the survey:\n" + describe(folder.entries));
        }
        if (auto saved = save(CheckpointType::kIntermediate); !saved) return saved;
    }
    finish_goal();
    return {};
}

Status Agent::write_report() {
    if (auto entered = enter_phase(AgentPhase::kReporting, kGoals[5]); !entered) return entered;
    Json report = state_["counters"];
    report.update(state_["findings"]);
    state_["report"] = std::move(report);
    state_["messages"].push_back({{"role", "assistant"}, {"content", render_report(state_)}});
    finish_goal();
    phase_ = AgentPhase::kCompletion;
    return save(CheckpointType::kPipelineComplete);
}

Status Agent::enter_phase(AgentPhase phase, std::string_view goal) {
    phase_ = std::move(phase);
    for (Json& item : state_["plan"]) {
        if (item["goal"] == goal) item["status"] = "under way";
    }
    return save(CheckpointType::kPhaseTransition);
}

void Agent::finish_goal() {
    for (Json& item : state_["plan"]) {
        if (item["status"] == "under way") item["status"] = "done";
    }
}

void Agent::observe(std::string_view tool, Json arguments, std::string observation) {
    add(state_["counters"]["tool_calls"], 1);
    Json call{{"tool", tool}, {"arguments", std::move(arguments)}};
    state_["messages"].push_back({{"role", "assistant"}, {"tool_call", std::move(call)}});
    state_["messages"].push_back({{"role", "tool"}, {"content", std::move(observation)}});
}

Status Agent::save(const CheckpointType& type) {
    return save_(state_, type, phase_);
}

std::string render_report(const Json& state) {
    const Json& counters = state["counters"];
    const Json& findings = state["findings"];
    std::string text = fmt::format("{} source files in {} folders, {} lines\n", counters["files"].get<std::size_t>(),
                                   counters["folders"].get<std::size_t>(), counters["lines"].get<std::size_t>());
    std::vector<std::string> languages;
    for (const auto& [name, lines] : findings["languages"].items()) {
        languages.push_back(fmt::format("{} {}", name, lines.get<std::size_t>()));
    }
    text += fmt::format("lines by language: {}\n", fmt::join(languages, ", "));
    text += "the files that others lean on:\n";
    for (const Json& file : findings["key_files"]) {
        text += fmt::format("  {} (mentioned in {} files) {}\n", file["path"].get<std::string>(),
                            file["mentioned_in"].get<std::size_t>(), file.value("introduction", ""));
    }
    text += "worth a second look:\n";
    for (const auto& [what, where] : findings["concerns"].items()) {
        text += fmt::format("  {:<16} {} lines, the first at {}\n", what, where["lines"].get<std::size_t>(),
                            where["first"].get<std::string>());
    }
    return text;
}

}  // namespace repo_analyst
