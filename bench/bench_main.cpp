// Runs the benchmarks (Google Benchmark's own options apply), then prints what has an aim, and whether it was met.
// Nothing fails on a missed aim: machines are noisy, and a person or CI's history decides.

#include "bench_states.h"
#include "benchmarks.h"
#include "in_turn.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

namespace {

using namespace cairn::bench;

/// Prints as usual, and remembers the ratios.
class RatioReporter : public benchmark::ConsoleReporter {
public:
    RatioReporter() : ConsoleReporter(OO_None) {}

    void ReportRuns(const std::vector<Run>& reports) override {
        ConsoleReporter::ReportRuns(reports);
        for (const Run& run : reports) {
            if (run.counters.contains(kRatioMax)) {
                aims_.push_back({run.benchmark_name(), run.counters.at(kRatio), run.counters.at(kRatioMax)});
            }
        }
    }

    void print_aims() const {
        if (!aims_.empty()) std::printf("\nratios to the yardstick, each with its aim:\n");
        for (const Aim& aim : aims_) {
            const char* verdict = aim.ratio <= aim.ratio_max ? "" : "  missed";
            std::printf("  %-58s %6.2f  <= %.2f%s\n", aim.name.c_str(), aim.ratio, aim.ratio_max, verdict);
        }
    }

private:
    struct Aim {
        std::string name;
        double ratio = 0;
        double ratio_max = 0;
    };
    std::vector<Aim> aims_;
};

}  // namespace

int main(int argument_count, char** arguments) {
    benchmark::Initialize(&argument_count, arguments);
    if (benchmark::ReportUnrecognizedArguments(argument_count, arguments)) return 1;
    benchmark::AddCustomContext("states", states_source());
    register_compare_benchmarks();
    register_skip_benchmarks();
    register_save_benchmarks();
    register_load_benchmarks();
    register_chain_load_benchmarks();
    RatioReporter reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
    reporter.print_aims();
    benchmark::Shutdown();
    return 0;
}
