#pragma once

// Measures two ways of doing the same in turn, so that other load on the machine affects both alike.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <optional>
#include <utility>
#include <vector>

namespace cairn::bench {

inline double median_of(std::vector<double> values) {
    if (values.empty()) return 0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

template <class Work>
double seconds_of(const Work& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// CPU time of this thread: on a busy machine, the time that a call of milliseconds would take on an idle one.
template <class Work>
double cpu_seconds_of(const Work& work) {
    const auto now = [] {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    };
    const double begin = now();
    work();
    return now() - begin;
}

/// Names of counters that the summary reads (bench_main.cpp): a ratio, and its maximum if there is an aim.
inline constexpr auto kRatio = "ratio";
inline constexpr auto kRatioMax = "ratio_max";
/// The minimum of "bytes_per_second", if there is an aim.
inline constexpr auto kBytesPerSecondMin = "bytes_per_second_min";

/// Our way and a yardstick, on a number of inputs each.
class InTurn {
public:
    explicit InTurn(std::size_t inputs) : ours_(inputs), yardstick_(inputs) {}

    /// For a benchmark with UseManualTime: an iteration calls `ours(input)` and `yardstick(input)` for every input.
    template <class Ours, class Yardstick>
    void run(benchmark::State& state, const Ours& ours, const Yardstick& yardstick) {
        bool ours_first = true;
        for (auto _ : state) {
            double total = 0;
            for (std::size_t input = 0; input < ours_.size(); ++input) {
                measure(input, ours_first, ours, yardstick);
                total += ours_[input].back();
            }
            ours_first = !ours_first;
            state.SetIterationTime(total);
        }
    }

    /// One turn: each way once on one input.
    template <class Ours, class Yardstick>
    void measure(std::size_t input, bool ours_first, const Ours& ours, const Yardstick& yardstick) {
        if (!ours_first) yardstick_[input].push_back(seconds_of([&] { yardstick(input); }));
        ours_[input].push_back(seconds_of([&] { ours(input); }));
        if (ours_first) yardstick_[input].push_back(seconds_of([&] { yardstick(input); }));
    }

    void add(const InTurn& other) {
        ours_.insert(ours_.end(), other.ours_.begin(), other.ours_.end());
        yardstick_.insert(yardstick_.end(), other.yardstick_.begin(), other.yardstick_.end());
    }

    /// Reports the total of all inputs: the median of each, summed, so that large inputs have a large weight.
    void report_totals(benchmark::State& state, std::optional<double> ratio_max = {}) const {
        const double inputs = static_cast<double>(ours_.size());
        report(state, sum_of_medians(ours_) / inputs, sum_of_medians(yardstick_) / inputs, ratio_max);
    }

    /// Reports the median call.
    void report_p50(benchmark::State& state, std::optional<double> ratio_max = {}) const {
        report(state, pooled_median(ours_), pooled_median(yardstick_), ratio_max);
    }

private:
    using Samples = std::vector<std::vector<double>>;  ///< By input.

    static void report(benchmark::State& state, double ours, double yardstick, std::optional<double> ratio_max) {
        state.counters["ours_us"] = ours * 1e6;
        state.counters["yardstick_us"] = yardstick * 1e6;
        state.counters[kRatio] = ours / yardstick;
        if (ratio_max) state.counters[kRatioMax] = *ratio_max;
    }

    static double pooled_median(const Samples& samples) {
        std::vector<double> pooled;
        for (const std::vector<double>& of_input : samples)
            pooled.insert(pooled.end(), of_input.begin(), of_input.end());
        return median_of(std::move(pooled));
    }

    static double sum_of_medians(const Samples& samples) {
        double sum = 0;
        for (const std::vector<double>& of_input : samples) sum += median_of(of_input);
        return sum;
    }

    Samples ours_;
    Samples yardstick_;
};

}  // namespace cairn::bench
