// Runs the benchmarks (Google Benchmark's own options apply), then prints the results that have an aim, and whether
// they met it. A missed aim is no failure: machines are noisy, and a person or CI's history decides.

#include "bench_states.h"
#include "benchmarks.h"
#include "in_turn.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

namespace {

using namespace cairn::bench;

/// Prints as usual, and records the results that have an aim.
class AimReporter : public benchmark::ConsoleReporter {
public:
    AimReporter() : ConsoleReporter(OO_None) {}

    void ReportRuns(const std::vector<Run>& reports) override {
        ConsoleReporter::ReportRuns(reports);
        for (const Run& run : reports) {
            if (run.counters.contains(kRatioMax)) note_ratio(run);
            if (run.counters.contains(kBytesPerSecondMin)) note_speed(run);
        }
    }

    void print_aims() const {
        if (!aims_.empty()) std::printf("\nwhat has an aim:\n");
        for (const std::string& aim : aims_) std::printf("%s\n", aim.c_str());
    }

private:
    void note_ratio(const Run& run) {
        const double ratio = run.counters.at(kRatio);
        const double aim = run.counters.at(kRatioMax);
        note(run, fmt::format("{:6.2f} x the yardstick, aim at most {:.2f}", ratio, aim), ratio <= aim);
    }

    void note_speed(const Run& run) {
        const double speed = run.counters.at("bytes_per_second");
        const double aim = run.counters.at(kBytesPerSecondMin);
        note(run, fmt::format("{:6.2f} GB/s, aim at least {:.2f}", speed / 1e9, aim / 1e9), speed >= aim);
    }

    void note(const Run& run, const std::string& figures, bool met) {
        aims_.push_back(fmt::format("  {:<62}{}{}", run.benchmark_name(), figures, met ? "" : "  MISSED"));
    }

    std::vector<std::string> aims_;
};

}  // namespace

int main(int argument_count, char** arguments) {
    benchmark::Initialize(&argument_count, arguments);
    if (benchmark::ReportUnrecognizedArguments(argument_count, arguments)) return 1;
    benchmark::AddCustomContext("states", states_source());
    register_state_benchmarks();
    register_skip_benchmarks();
    register_encode_benchmarks();
    register_save_benchmarks();
    register_load_benchmarks();
    register_chain_load_benchmarks();
    AimReporter reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
    reporter.print_aims();
    benchmark::Shutdown();
    return 0;
}
