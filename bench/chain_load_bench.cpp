// Measures the cost of loading chains of deltas, on recorded runs:
//   load_latest_vs_full_frame/FILE   the newest state at many steps of the file's runs, in turn with reading and
//                                    decoding a self-contained zstd frame of the same state; `all` is the files
//                                    measured before
//   load_any/FILE                    every snapshot of the file's first run: the slowest one's median, and the
//                                    slowest call

#include "bench_store.h"
#include "benchmarks.h"
#include "frame/frame.h"
#include "in_turn.h"
#include "replay/trajectory.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>

namespace cairn::bench {
namespace {

constexpr double kRatioAim = 3;
constexpr std::size_t kStepsBetweenLoads = 5;
constexpr int kTimes = 5;
constexpr std::string_view kLongestRun = "pi_coding_agent";

using Steps = std::vector<TrajectoryStep>;

/// A run saved step by step in both ways, each in a store of its own.
class TwoStores {
public:
    void save_chained(const State& state) {
        newest_ = must(chained_.save_agent_state(request_for("run", state))).snapshot_id;
    }
    void save_whole(const State& state) { must(whole_.save_agent_state(request_for("run", state))); }

    /// Loads by id, so that the state comes from the store and not from the cache.
    void load_chained() {
        benchmark::DoNotOptimize(must(chained_.load_agent_state({.run_id = "run", .snapshot_id = newest_})));
    }
    void load_whole() {
        const auto snapshot = must(whole_store_->get("run", std::nullopt, Deadline::max()));
        benchmark::DoNotOptimize(must(decode_full_frame(snapshot->frame, std::numeric_limits<std::int64_t>::max())));
    }

private:
    ScratchFolder chained_folder_;
    ScratchFolder whole_folder_;
    std::shared_ptr<Store> whole_store_ = whole_folder_.open_store();
    OptimizedStatePersistence chained_{chained_folder_.open_store()};
    std::string newest_;
    OptimizedStatePersistence whole_{whole_store_, {.chain_limits = {.frames_max = 1}}};
};

InTurn measure_heads(const Steps& steps) {
    TwoStores stores;
    InTurn in_turn((steps.size() + kStepsBetweenLoads - 1) / kStepsBetweenLoads);
    for (std::size_t step = 0; step < steps.size(); ++step) {
        stores.save_chained(steps[step].state);
        if (step % kStepsBetweenLoads != 0) continue;
        stores.save_whole(steps[step].state);
        for (int time = 0; time < kTimes; ++time) {
            in_turn.measure(
                step / kStepsBetweenLoads, time % 2 == 0, [&](std::size_t) { stores.load_chained(); },
                [&](std::size_t) { stores.load_whole(); });
        }
    }
    return in_turn;
}

InTurn& measured_files() {
    static InTurn all(0);
    return all;
}

void load_latest(benchmark::State& state, const std::filesystem::path& file) {
    InTurn of_file(0);
    for (auto _ : state) {
        for (const TrajectoryRun& run : must(expand_trajectories({file}))) {
            of_file.add(measure_heads(run.steps));
        }
    }
    measured_files().add(of_file);
    of_file.report_p50(state, kRatioAim);
}

void load_latest_of_all(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(measured_files());
    measured_files().report_p50(state, kRatioAim);
}

void load_any(benchmark::State& state, const std::filesystem::path& file) {
    const ScratchFolder folder;
    OptimizedStatePersistence service(folder.open_store());
    std::vector<std::string> snapshot_ids;
    const auto runs = must(expand_trajectories({file}, {.runs_max = 1}));
    for (const TrajectoryStep& step : runs.front().steps) {
        snapshot_ids.push_back(must(service.save_agent_state(request_for("run", step.state))).snapshot_id);
    }
    std::vector<double> medians;
    std::vector<double> cpu_medians;
    double slowest_call = 0;
    for (auto _ : state) {
        for (const std::string& snapshot_id : snapshot_ids) {
            const LoadRequest request{.run_id = "run", .snapshot_id = snapshot_id};
            std::vector<double> seconds;
            std::vector<double> cpu_seconds;
            for (int time = 0; time < kTimes; ++time) {
                seconds.push_back(seconds_of([&] {
                    cpu_seconds.push_back(
                        cpu_seconds_of([&] { benchmark::DoNotOptimize(must(service.load_agent_state(request))); }));
                }));
            }
            slowest_call = std::max(slowest_call, std::ranges::max(seconds));
            medians.push_back(median_of(std::move(seconds)));
            cpu_medians.push_back(median_of(std::move(cpu_seconds)));
        }
    }
    state.counters["p50_us"] = median_of(medians) * 1e6;
    state.counters["worst_us"] = std::ranges::max(medians) * 1e6;
    state.counters["worst_cpu_us"] = std::ranges::max(cpu_medians) * 1e6;
    state.counters["slowest_call_us"] = slowest_call * 1e6;
}

}  // namespace

void register_chain_load_benchmarks() {
    const auto register_once = [](const std::string& name, const auto& function) {
        benchmark::RegisterBenchmark(name.c_str(), function)->Iterations(1)->Unit(benchmark::kMillisecond);
    };
    const std::vector<std::filesystem::path> files = trajectory_files();
    for (const std::filesystem::path& file : files) {
        register_once("load_latest_vs_full_frame/" + file.stem().string(),
                      [file](benchmark::State& state) { load_latest(state, file); });
    }
    if (!files.empty()) register_once("load_latest_vs_full_frame/all", load_latest_of_all);
    for (const std::filesystem::path& file : files) {
        if (file.stem() != kLongestRun) continue;
        register_once("load_any/" + file.stem().string(), [file](benchmark::State& state) { load_any(state, file); });
    }
}

}  // namespace cairn::bench
