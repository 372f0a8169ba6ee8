// Measures cost and savings of storing a state as a delta against the one before, on whole recorded runs, one thread,
// in its CPU time:
//   encode/FILE  encode_delta_frame alone, in bytes of state per second, and the resulting sizes
//   save/FILE    the whole save without the commit: validate, compare with the state before, encode
//   apply/FILE   decoding a run's last state from its first one and all deltas since; `full_us` is the time to decode
//                that state from a full frame
// Arguments that are files or folders of trajectories replace the public ones. Without any trajectories, the example
// agent's states are measured. The table at the end sums up the results of the encode benchmarks.

#include "bench_states.h"
#include "frame/delta_frame.h"
#include "frame/text_chain.h"
#include "in_turn.h"
#include "replay/trajectory.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace cairn;
using namespace cairn::bench;

using Run = std::vector<State>;

/// One source of runs. It is read when it is measured, since all of them together take a gigabyte.
struct Source {
    std::string name;
    std::filesystem::path file;  ///< Empty: the example agent.
};

struct Totals {
    std::uint64_t state_bytes = 0;  ///< The sum of all states, including those that equal the one before.
    std::uint64_t payload_bytes = 0;
    std::uint64_t delta_bytes = 0;
    std::uint64_t deltas = 0;
    double seconds = 0;
};

std::map<std::string, Totals>& table() {
    static std::map<std::string, Totals> rows;
    return rows;
}

[[noreturn]] void give_up(const Error& error) {
    std::fprintf(stderr, "delta_bench: %s\n", error.to_string().c_str());
    std::exit(EXIT_FAILURE);
}

template <class T>
T must(Result<T> result) {
    if (!result) give_up(result.error());
    return std::move(*result);
}

std::vector<Run> read_runs(const Source& source) {
    if (source.file.empty()) return {mixed_sizes().states};
    std::vector<Run> runs;
    for (TrajectoryRun& recorded : must(expand_trajectories({source.file}))) {
        Run& run = runs.emplace_back();
        for (TrajectoryStep& step : recorded.steps) run.push_back(std::move(step.state));
    }
    return runs;
}

/// The benchmarks of one source follow one another, so it is enough to keep the runs of the last one.
const std::vector<Run>& runs_of(const Source& source) {
    static std::string held;
    static std::vector<Run> runs;
    if (held != source.name) {
        runs.clear();
        runs = read_runs(source);
        held = source.name;
    }
    return runs;
}

std::string encode(const State& base, const State& state) {
    constexpr std::size_t kAnySize = std::numeric_limits<std::size_t>::max();
    return must(encode_delta_frame(base.text(), state.text(), FrameOptions{}, kAnySize)).value();
}

std::string encode_full(const State& state) {
    return must(encode_full_frame(state.text(), state.checksum()));
}

/// The deltas of a run, each against the state before; equal neighbours have none.
std::vector<std::string> encode_run(const Run& run) {
    std::vector<std::string> frames;
    for (std::size_t i = 1; i < run.size(); ++i) {
        if (run[i].text() != run[i - 1].text()) frames.push_back(encode(run[i - 1], run[i]));
    }
    return frames;
}

void measure_encode(benchmark::State& state, const Source& source) {
    const std::vector<Run>& runs = runs_of(source);
    Totals totals;
    for (auto _ : state) {
        totals = {};
        for (const Run& run : runs) {
            std::vector<std::string> frames;
            totals.seconds += cpu_seconds_of([&] { frames = encode_run(run); });
            totals.deltas += frames.size();
            for (const std::string& frame : frames) totals.delta_bytes += frame.size();
            for (const State& each : run) totals.state_bytes += each.size_bytes();
            totals.payload_bytes += encode_full(run.front()).size();
        }
        totals.payload_bytes += totals.delta_bytes;
        state.SetIterationTime(totals.seconds);
    }
    const auto deltas = static_cast<double>(totals.deltas);
    state.SetBytesProcessed(static_cast<std::int64_t>(totals.state_bytes) * state.iterations());
    state.counters["us_per_delta"] = totals.seconds / deltas * 1e6;
    state.counters["bytes_per_delta"] = static_cast<double>(totals.delta_bytes) / deltas;
    state.counters["smaller"] = static_cast<double>(totals.state_bytes) / static_cast<double>(totals.payload_bytes);
    table()[source.name] = totals;
}

/// Encodes as the optimised service does, for a caller that has the text.
void save_run(const Run& run, const std::vector<std::string>& texts) {
    for (std::size_t i = 1; i < run.size(); ++i) {
        const State state = must(State::parse(std::string_view(texts[i])));
        if (state == run[i - 1]) continue;
        benchmark::DoNotOptimize(state.checksum());
        benchmark::DoNotOptimize(encode(run[i - 1], state));
    }
}

void measure_save(benchmark::State& state, const Source& source) {
    const std::vector<Run>& runs = runs_of(source);
    std::uint64_t state_bytes = 0;
    for (auto _ : state) {
        double seconds = 0;
        state_bytes = 0;
        for (const Run& run : runs) {
            std::vector<std::string> texts;
            for (const State& each : run) texts.emplace_back(each.text());
            for (const std::string& text : texts) state_bytes += text.size();
            seconds += cpu_seconds_of([&] { save_run(run, texts); });
        }
        state.SetIterationTime(seconds);
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state_bytes) * state.iterations());
}

std::string apply_all(const State& first, const std::vector<std::string>& frames, const State& last) {
    TextChain chain(first.text());
    for (const std::string& frame : frames) {
        if (Status status = chain.apply(frame, last.size_bytes() * 4 + (1U << 20)); !status) give_up(status.error());
    }
    return must(chain.text(last.checksum()));
}

void measure_apply(benchmark::State& state, const Source& source) {
    const std::vector<Run>& runs = runs_of(source);
    double deltas = 0;
    double full_seconds = 0;
    double total_seconds = 0;
    for (auto _ : state) {
        double seconds = 0;
        for (const Run& run : runs) {
            const std::vector<std::string> frames = encode_run(run);
            const std::string full = encode_full(run.back());
            seconds += cpu_seconds_of([&] { benchmark::DoNotOptimize(apply_all(run.front(), frames, run.back())); });
            full_seconds += cpu_seconds_of(
                [&] { benchmark::DoNotOptimize(must(decode_full_frame(full, run.back().size_bytes()))); });
            deltas += static_cast<double>(frames.size());
        }
        total_seconds += seconds;
        state.SetIterationTime(seconds);
    }
    const auto loads = static_cast<double>(runs.size()) * static_cast<double>(state.iterations());
    state.counters["us_per_delta"] = total_seconds / deltas * 1e6;
    state.counters["load_us"] = total_seconds / loads * 1e6;
    state.counters["full_us"] = full_seconds / loads * 1e6;
}

std::vector<Source> sources(int argument_count, char** arguments) {
    std::vector<std::string> paths(arguments + 1, arguments + argument_count);
    const auto public_ones = std::filesystem::path(CAIRN_SOURCE_DIR) / ".." / "shared" / "trajectories";
    if (paths.empty() && std::filesystem::exists(public_ones)) paths.push_back(public_ones.string());
    if (paths.empty()) return {{.name = "repo_analyst", .file = {}}};
    std::vector<Source> found;
    for (const auto& file : must(find_trajectory_files(paths))) found.push_back({file.stem().string(), file});
    return found;
}

void print_row(const std::string& name, const Totals& totals) {
    const auto state_bytes = static_cast<double>(totals.state_bytes);
    const auto deltas = static_cast<double>(totals.deltas);
    std::printf("%-24s %9.1f %8.1f %11.1f %9.2f %9.1f\n", name.c_str(), state_bytes / 1e6,
                state_bytes / static_cast<double>(totals.payload_bytes),
                static_cast<double>(totals.delta_bytes) / deltas, state_bytes / totals.seconds / 1e9,
                totals.seconds / deltas * 1e6);
}

void print_table() {
    if (table().empty()) return;
    std::printf("\nfirst state full, all others against the one before:\n%-24s %9s %8s %11s %9s %9s\n", "", "state MB",
                "smaller", "bytes/delta", "GB/s", "us/delta");
    Totals all;
    for (const auto& [name, totals] : table()) {
        print_row(name, totals);
        all.state_bytes += totals.state_bytes;
        all.payload_bytes += totals.payload_bytes;
        all.delta_bytes += totals.delta_bytes;
        all.deltas += totals.deltas;
        all.seconds += totals.seconds;
    }
    print_row("all", all);
}

using Measure = void (*)(benchmark::State&, const Source&);

void add(const std::string& name, const Source& source, Measure measure) {
    benchmark::RegisterBenchmark((name + "/" + source.name).c_str(),
                                 [=](benchmark::State& state) { measure(state, source); })
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argument_count, char** arguments) {
    benchmark::Initialize(&argument_count, arguments);
    for (const Source& source : sources(argument_count, arguments)) {
        add("encode", source, measure_encode);
        add("save", source, measure_save);
        add("apply", source, measure_apply);
    }
    benchmark::RunSpecifiedBenchmarks();
    print_table();
    benchmark::Shutdown();
    return 0;
}
