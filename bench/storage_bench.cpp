// Measures the figures of docs/storage.md about delta chains, on recorded runs (files or folders of trajectories):
//   cairn_storage_bench limits PATH…   stored bytes and load times for several chain limits, as a table in Markdown
//   cairn_storage_bench growth FILE    every save of the file's first run, one line of CSV each, for plot_growth.py;
//                                      a summary of early and late saves on standard error
// The stores are made in the working folder.

#include "bench_store.h"
#include "frame/delta_frame.h"
#include "in_turn.h"
#include "replay/trajectory.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <vector>

namespace {

using namespace cairn;
using namespace cairn::bench;

constexpr std::uint32_t kWhole = 1;  ///< Frames: no deltas at all, the yardstick for loading.
constexpr std::uint32_t kUnlimited = std::numeric_limits<std::uint32_t>::max();

std::vector<TrajectoryRun> expanded(const std::filesystem::path& file) {
    return must(expand_trajectories({file}));
}

// --- limits ---

/// All loads of a file's snapshots, and their bytes on disk.
struct FileFigures {
    std::uint64_t state_bytes = 0;
    std::uint64_t payload_bytes = 0;
    std::vector<double> load_us;
    double worst_us = 0;  ///< The slowest snapshot's median.

    double ratio() const { return static_cast<double>(state_bytes) / static_cast<double>(payload_bytes); }
};

struct Setting {
    ChainLimits limits;
    std::map<std::string, FileFigures> files = {};
};

std::vector<Setting> settings_to_compare() {
    std::vector<Setting> settings;
    const auto add = [&](std::uint32_t frames_max, std::uint32_t percent_max) {
        settings.push_back({.limits = {.frames_max = frames_max, .bytes_percent_max = percent_max}});
    };
    for (const std::uint32_t frames_max : {kWhole, 16U, 64U, 128U, 256U, 512U, 1024U, kUnlimited}) add(frames_max, 400);
    for (const std::uint32_t percent_max : {100U, 200U, kUnlimited}) add(512, percent_max);
    add(kUnlimited, kUnlimited);
    return settings;
}

double load_cpu_us(StatePersistence& service, const LoadRequest& request) {
    return cpu_seconds_of([&] { benchmark::DoNotOptimize(must(service.load_agent_state(request))); }) * 1e6;
}

/// Loads each snapshot once, then the slowest ones again: noise makes a fast load slow, never a slow one fast.
void load_all(StatePersistence& service, std::span<const LoadRequest> requests, FileFigures& figures) {
    constexpr std::size_t kSlowest = 12;
    constexpr int kTimes = 5;
    std::vector<std::pair<double, const LoadRequest*>> loads;
    for (const LoadRequest& request : requests) loads.emplace_back(load_cpu_us(service, request), &request);
    for (const auto& load : loads) figures.load_us.push_back(load.first);
    std::ranges::sort(loads, std::greater{});
    loads.resize(std::min(loads.size(), kSlowest));
    for (const auto& load : loads) {
        std::vector<double> again;
        for (int time = 0; time < kTimes; ++time) again.push_back(load_cpu_us(service, *load.second));
        figures.worst_us = std::max(figures.worst_us, median_of(std::move(again)));
    }
}

void measure_run(const TrajectoryRun& run, const ChainLimits& limits, FileFigures& figures) {
    const ScratchFolder folder;
    OptimizedStatePersistence service(folder.open_store(), {.chain_limits = limits});
    std::vector<LoadRequest> requests;
    for (const TrajectoryStep& step : run.steps) {
        const Receipt receipt = must(service.save_agent_state(request_of(run, step)));
        figures.state_bytes += step.state.size_bytes();
        figures.payload_bytes += receipt.frame_bytes;
        if (receipt.outcome == Outcome::kPersisted) requests.push_back({run.run_id, receipt.snapshot_id});
    }
    load_all(service, requests, figures);
}

FileFigures sum_of(const std::map<std::string, FileFigures>& files) {
    FileFigures sum;
    for (const auto& [name, file] : files) {
        sum.state_bytes += file.state_bytes;
        sum.payload_bytes += file.payload_bytes;
        sum.load_us.insert(sum.load_us.end(), file.load_us.begin(), file.load_us.end());
        sum.worst_us = std::max(sum.worst_us, file.worst_us);
    }
    std::ranges::sort(sum.load_us);
    return sum;
}

double quantile_us(const std::vector<double>& sorted_us, double quantile) {
    const auto index = static_cast<std::size_t>(quantile * static_cast<double>(sorted_us.size() - 1));
    return sorted_us[index];
}

std::string limit_text(std::uint32_t limit, const char* unit) {
    return limit == kUnlimited ? "none" : fmt::format("{}{}", limit, unit);
}

double p50_us(FileFigures figures) {
    return median_of(std::move(figures.load_us));
}

/// Load times are also given as multiples of those without deltas.
void print_row(const Setting& setting, const Setting& whole) {
    const FileFigures all = sum_of(setting.files);
    fmt::print("| {} | {} | {:.0f} | {:.0f} ({:.1f}×) | {:.0f} | {:.2f} |", limit_text(setting.limits.frames_max, ""),
               limit_text(setting.limits.bytes_percent_max, " %"), all.ratio(), p50_us(all),
               p50_us(all) / p50_us(sum_of(whole.files)), quantile_us(all.load_us, 0.99), all.worst_us / 1e3);
    for (const auto& [name, file] : setting.files) {
        fmt::print(" {:.0f}; {:.1f}×; {:.2f} |", file.ratio(), p50_us(file) / p50_us(whole.files.at(name)),
                   file.worst_us / 1e3);
    }
    fmt::print("\n");
}

void compare_limits(const std::vector<std::string>& paths) {
    std::vector<Setting> settings = settings_to_compare();
    for (const std::filesystem::path& file : must(find_trajectory_files(paths))) {
        for (const TrajectoryRun& run : expanded(file)) {
            for (Setting& setting : settings) measure_run(run, setting.limits, setting.files[file.stem().string()]);
        }
    }
    fmt::print("| frames | bytes | state / payload | load p50, µs | p99, µs | worst, ms |");
    for (const auto& [name, figures] : settings.front().files)
        fmt::print(" {}: state / payload; load p50; worst, ms |", name);
    fmt::print("\n");
    for (const Setting& setting : settings) print_row(setting, settings.front());
}

// --- growth ---

/// The cost of one save.
struct Save {
    std::uint64_t state_bytes = 0;
    std::uint64_t changed_bytes = 0;  ///< Of an uncompressed delta: the new bytes, and the kept ranges of the base.
    std::uint64_t zstd_bytes = 0;     ///< Size of a self-contained frame.
    std::uint64_t cairn_bytes = 0;
    double cpu_us = 0;        ///< Without the check of the text.
    double parse_cpu_us = 0;  ///< Only the check.
};

std::vector<Save> sizes_of_saves(const TrajectoryRun& run) {
    OptimizedStatePersistence service(must(open_store("memory:")));
    std::vector<Save> saves;
    State before;
    for (const TrajectoryStep& step : run.steps) {
        const State& state = step.state;
        const auto changed = must(encode_delta_frame(before.text(), state.text(), {.compression = false}, kUnlimited));
        saves.push_back({.state_bytes = state.size_bytes(),
                         .changed_bytes = changed->size(),
                         .zstd_bytes = must(encode_full_frame(state.text(), state.checksum())).size(),
                         .cairn_bytes = must(service.save_agent_state(request_of(run, step))).frame_bytes});
        before = state;
    }
    return saves;
}

/// The median of several passes: a step is saved once in each.
void measure_cpu(const TrajectoryRun& run, std::vector<Save>& saves) {
    constexpr int kPasses = 5;
    std::vector<std::vector<double>> cpu_us(saves.size());
    std::vector<std::vector<double>> parse_cpu_us(saves.size());
    for (int pass = 0; pass < kPasses; ++pass) {
        OptimizedStatePersistence service(must(open_store("memory:")));
        for (std::size_t index = 0; index < saves.size(); ++index) {
            StatePersistenceRequest request = request_of(run, run.steps[index]);
            const std::string_view text = run.steps[index].state.text();
            parse_cpu_us[index].push_back(1e6 * cpu_seconds_of([&] { request.state_data = must(State::parse(text)); }));
            cpu_us[index].push_back(1e6 * cpu_seconds_of([&] { must(service.save_agent_state(request)); }));
        }
    }
    for (std::size_t index = 0; index < saves.size(); ++index) {
        saves[index].cpu_us = median_of(cpu_us[index]);
        saves[index].parse_cpu_us = median_of(parse_cpu_us[index]);
    }
}

/// Totals of the saves around a step: a single save says little, because steps differ.
void print_window(const std::vector<Save>& saves, std::size_t begin, std::size_t end) {
    Save sum;
    for (std::size_t index = begin; index < end; ++index) {
        sum.state_bytes += saves[index].state_bytes;
        sum.changed_bytes += saves[index].changed_bytes;
        sum.cairn_bytes += saves[index].cairn_bytes;
        sum.cpu_us += saves[index].cpu_us;
        sum.parse_cpu_us += saves[index].parse_cpu_us;
    }
    const double changed = static_cast<double>(sum.changed_bytes);
    const double count = static_cast<double>(end - begin);
    fmt::print(
        stderr,
        "steps {} to {}: state {:.0f} B, changed {:.0f} B, stored {:.0f} B, save {:.1f} us, check {:.1f} us; per "
        "changed byte: stored {:.3f} B, save {:.4f} us, with the check {:.4f} us\n",
        begin, end - 1, static_cast<double>(sum.state_bytes) / count, changed / count,
        static_cast<double>(sum.cairn_bytes) / count, sum.cpu_us / count, sum.parse_cpu_us / count,
        static_cast<double>(sum.cairn_bytes) / changed, sum.cpu_us / changed,
        (sum.cpu_us + sum.parse_cpu_us) / changed);
}

void print_growth(const std::filesystem::path& file) {
    const TrajectoryRun run = std::move(expanded(file).front());
    std::vector<Save> saves = sizes_of_saves(run);
    measure_cpu(run, saves);
    fmt::print("step,state_bytes,changed_bytes,zstd_bytes,cairn_bytes,save_cpu_us,check_cpu_us\n");
    for (std::size_t index = 0; index < saves.size(); ++index) {
        const Save& save = saves[index];
        fmt::print("{},{},{},{},{},{:.1f},{:.1f}\n", index, save.state_bytes, save.changed_bytes, save.zstd_bytes,
                   save.cairn_bytes, save.cpu_us, save.parse_cpu_us);
    }
    constexpr std::size_t kWindow = 60;
    for (const std::size_t middle : {std::size_t{100}, std::size_t{300}, std::size_t{500}, std::size_t{970}}) {
        if (middle + kWindow / 2 <= saves.size()) print_window(saves, middle - kWindow / 2, middle + kWindow / 2);
    }
}

}  // namespace

int main(int argument_count, char** arguments) {
    const std::vector<std::string> words(arguments + 1, arguments + argument_count);
    if (words.size() >= 2 && words[0] == "limits") {
        compare_limits({words.begin() + 1, words.end()});
    } else if (words.size() == 2 && words[0] == "growth") {
        print_growth(words[1]);
    } else {
        fmt::print(stderr, "usage: cairn_storage_bench limits PATH... | growth FILE\n");
        return 2;
    }
    return 0;
}
