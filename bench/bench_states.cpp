#include "bench_states.h"

#include "replay/trajectory.h"
#include "repo_analyst/agent.h"
#include "repo_analyst/tools.h"

#include <cairn/state_json.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <limits>
#include <utility>

namespace cairn::bench {
namespace {

struct Bounds {
    const char* name;
    std::size_t bytes_max;
};
constexpr Bounds kClasses[] = {{"below_4kB", 4'000},
                               {"4_to_32kB", 32'000},
                               {"32_to_128kB", 128'000},
                               {"above_128kB", std::numeric_limits<std::size_t>::max()}};
constexpr std::size_t kStatesPerClass = 48;
constexpr std::size_t kStretch = 16;  ///< The most consecutive states of one run.
constexpr std::size_t kRunsPerFile = 3;

using Runs = std::vector<std::vector<State>>;

[[noreturn]] void give_up(const Error& error) {
    std::fprintf(stderr, "no states to measure with: %s\n", error.to_string().c_str());
    std::exit(EXIT_FAILURE);
}

std::filesystem::path trajectories_folder() {
    return std::filesystem::path(CAIRN_SOURCE_DIR) / ".." / "shared" / "trajectories";
}

std::vector<State> states_of(TrajectoryRun run) {
    std::vector<State> states;
    for (TrajectoryStep& step : run.steps) states.push_back(std::move(step.state));
    return states;
}

/// Returns the first run of every file, then the second ones, …, so that no source fills a class alone.
Runs recorded_runs() {
    std::array<Runs, kRunsPerFile> by_place;
    for (const std::filesystem::path& file : trajectory_files()) {
        auto runs = expand_trajectories({file}, {.runs_max = kRunsPerFile});
        if (!runs) give_up(runs.error());
        for (std::size_t place = 0; place < runs->size(); ++place) {
            by_place[place].push_back(states_of(std::move((*runs)[place])));
        }
    }
    Runs all;
    for (Runs& runs : by_place) std::ranges::move(runs, std::back_inserter(all));
    return all;
}

Runs analyst_runs() {
    Runs runs(1);
    const auto keep = [&](const repo_analyst::Json& document, const CheckpointType&, const AgentPhase&) -> Status {
        Result<State> state = state_from_json(document);
        if (!state) return std::unexpected(state.error());
        runs.front().push_back(*std::move(state));
        return {};
    };
    const repo_analyst::SourceTree tree(CAIRN_SOURCE_DIR);
    const auto last = repo_analyst::Agent(tree, "cairn", keep).run();
    if (!last) give_up(last.error());
    return runs;
}

std::size_t class_of(const State& state) {
    const auto* found =
        std::ranges::find_if(kClasses, [&](const Bounds& bounds) { return state.size_bytes() < bounds.bytes_max; });
    return static_cast<std::size_t>(found - std::begin(kClasses));
}

/// Adds the last stretch of `run` in each class: most saves of a long run have states like these.
void add_stretches(const std::vector<State>& run, std::vector<SizeClass>& classes) {
    std::vector<std::vector<State>> stretches(classes.size());
    for (auto state = run.rbegin(); state != run.rend(); ++state) {
        std::vector<State>& stretch = stretches[class_of(*state)];
        const bool repeats = !stretch.empty() && stretch.back() == *state;
        if (!repeats && stretch.size() < kStretch) stretch.push_back(*state);
    }
    for (std::size_t index = 0; index < classes.size(); ++index) {
        std::vector<State>& states = classes[index].states;
        for (auto state = stretches[index].rbegin(); state != stretches[index].rend(); ++state) {
            if (states.size() < kStatesPerClass) states.push_back(*state);
        }
    }
}

std::vector<SizeClass> make_classes() {
    std::vector<SizeClass> classes;
    for (const Bounds& bounds : kClasses) classes.push_back({bounds.name, {}});
    const Runs runs = states_source() == "trajectories" ? recorded_runs() : analyst_runs();
    for (const std::vector<State>& run : runs) add_stretches(run, classes);
    std::erase_if(classes, [](const SizeClass& size_class) { return size_class.states.size() < 2; });
    return classes;
}

}  // namespace

std::size_t SizeClass::state_bytes() const {
    std::size_t bytes = 0;
    for (const State& state : states) bytes += state.size_bytes();
    return bytes;
}

const std::string& states_source() {
    static const std::string source = std::filesystem::exists(trajectories_folder()) ? "trajectories" : "repo_analyst";
    return source;
}

std::vector<std::filesystem::path> trajectory_files() {
    if (!std::filesystem::exists(trajectories_folder())) return {};
    auto files = find_trajectory_files({trajectories_folder().string()});
    if (!files) give_up(files.error());
    return *std::move(files);
}

const std::vector<SizeClass>& size_classes() {
    static const std::vector<SizeClass> classes = make_classes();
    return classes;
}

const SizeClass& mixed_sizes() {
    static const SizeClass mixed = [] {
        SizeClass all{"mixed", {}};
        for (const SizeClass& size_class : size_classes()) {
            all.states.insert(all.states.end(), size_class.states.begin(), size_class.states.end());
        }
        return all;
    }();
    return mixed;
}

}  // namespace cairn::bench
