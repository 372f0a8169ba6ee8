// repo_analyst: a small agent, persisted after every step; once by the standard service and once by the optimised one.
//
//   build/release/repo_analyst [FOLDER] [--out FOLDER]

#include "comparison.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <utility>

namespace {

namespace fs = std::filesystem;
using repo_analyst::Measurement;
using repo_analyst::Service;

// Prints in place on a terminal; elsewhere one line per phase.
class ProgressLine {
public:
    explicit ProgressLine(std::string name) : name_(std::move(name)) {}

    void show(std::uint64_t saves, const std::string& phase) {
        const bool is_new_phase = std::exchange(phase_, phase) != phase;
        if (is_terminal_) {
            fmt::print(stderr, "\r\033[K{}: {} saves, {}", name_, saves, phase);
        } else if (is_new_phase) {
            fmt::print(stderr, "{}: {}\n", name_, phase);
        }
    }

    void finish() const {
        if (is_terminal_) fmt::print(stderr, "\r\033[K");
    }

private:
    std::string name_;
    std::string phase_;
    bool is_terminal_ = isatty(STDERR_FILENO) == 1;
};

cairn::Result<Measurement> measure(const fs::path& folder, Service service, const fs::path& database) {
    ProgressLine line(service == Service::kStandard ? "standard" : "optimised");
    const repo_analyst::SourceTree tree(folder);
    auto measurement =
        repo_analyst::run_agent(tree, folder.filename().string(), service, database,
                                [&](std::uint64_t saves, const std::string& phase) { line.show(saves, phase); });
    line.finish();
    return measurement;
}

std::string human_bytes(std::uint64_t bytes) {
    const auto amount = static_cast<double>(bytes);
    if (amount < 1e3) return fmt::format("{} B", bytes);
    return amount < 1e6 ? fmt::format("{:.1f} kB", amount / 1e3) : fmt::format("{:.2f} MB", amount / 1e6);
}

void print_row(const char* service, const Measurement& m) {
    using Milliseconds = std::chrono::duration<double, std::milli>;
    fmt::print("{:<10} {:>6} {:>6} {:>11} {:>11} {:>11} {:>9.1f} ms {:>6.0f} us\n", service, m.saves, m.skips,
               human_bytes(m.state_bytes), human_bytes(m.payload_bytes), human_bytes(m.store_bytes),
               Milliseconds(m.saving).count(), Milliseconds(m.save_p50).count() * 1e3);
}

void print_table(const Measurement& standard, const Measurement& optimized) {
    fmt::print("{:<10} {:>6} {:>6} {:>11} {:>11} {:>11} {:>12} {:>9}\n", "service", "saves", "skips", "states",
               "payload", "store", "saving", "save p50");
    print_row("standard", standard);
    print_row("optimised", optimized);
}

void print_hints(const fs::path& database) {
    const std::string store = "--store sqlite:" + database.string();
    const char* run = repo_analyst::kRunId;
    fmt::print("\nLook inside:\n");
    fmt::print("  build/release/cairn log {} --run {}\n", store, run);
    fmt::print("  build/release/cairn load {} --run {} | jq .report\n", store, run);
    fmt::print("  build/release/cairn diff {} --run {}\n", store, run);
    fmt::print("  build/release/cairn check {}\n", store);
}

int report_error(const cairn::Error& error) {
    fmt::print(stderr, "repo_analyst: {}\n", error.to_string());
    return cairn::error_info(error.code).exit_code;
}

int compare(const fs::path& folder, const fs::path& out) {
    const auto standard = measure(folder, Service::kStandard, out / "standard.db");
    if (!standard) return report_error(standard.error());
    const auto optimized = measure(folder, Service::kOptimized, out / "optimized.db");
    if (!optimized) return report_error(optimized.error());

    fmt::print("{}\n", repo_analyst::render_report(optimized->state));
    print_table(*standard, *optimized);
    const bool is_equal =
        standard->loads_back_equal && optimized->loads_back_equal && standard->state == optimized->state;
    fmt::print("last states: {}\n", is_equal ? "both load back byte for byte, and are equal" : "DIFFERENT");
    print_hints(out / "optimized.db");
    return is_equal ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
    CLI::App app("Lets a small agent describe a source tree, and persists it after every step.");
    std::string folder = ".";
    std::string out = "build/run";
    app.add_option("folder", folder, "The tree to describe")->check(CLI::ExistingDirectory)->capture_default_str();
    app.add_option("--out", out, "Where standard.db and optimized.db are made anew")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    return compare(fs::weakly_canonical(folder), out);
} catch (const std::exception& error) {
    std::fputs(error.what(), stderr);
    return 1;
}
