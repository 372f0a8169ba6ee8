// Goal: the states of recorded agents stay exact when they are stored as deltas, and deltas of them pay.
// Method: for some runs of every public trajectory, neighbouring, swapped and unrelated states are encoded against each
// other. Each run is also decoded as one chain. The test is skipped if the trajectories are not there.

#include "frame/delta_frame.h"
#include "frame/text_chain.h"
#include "replay/trajectory.h"
#include "support/paths.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace cairn {
namespace {

constexpr std::size_t kRunsPerFile = 3;
constexpr std::size_t kStepsPerRun = 120;
constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

using Texts = std::vector<std::string>;

std::filesystem::path folder() {
    return test::source_dir() / ".." / "shared" / "trajectories";
}

/// Returns the texts of a run's first steps, without repetitions.
Texts texts_of(const TrajectoryRun& run) {
    Texts texts;
    for (const TrajectoryStep& step : run.steps) {
        if (texts.size() == kStepsPerRun) break;
        if (texts.empty() || texts.back() != step.state.text()) texts.emplace_back(step.state.text());
    }
    return texts;
}

std::string encode(std::string_view base, std::string_view text) {
    return encode_delta_frame(base, text, {}, kNoLimit).value().value();
}

void expect_round_trip(const std::string& base, const std::string& text) {
    const auto decoded = decode_delta_frame(encode(base, text), base, Checksum::of(text), text.size());
    ASSERT_TRUE(decoded) << decoded.error().to_string();
    ASSERT_TRUE(*decoded == text);
}

/// Encodes and decodes a run as one chain. Returns the bytes of its deltas.
std::size_t expect_chain(const Texts& texts) {
    TextChain chain(texts.front());
    std::size_t bytes = 0;
    for (std::size_t i = 1; i < texts.size(); ++i) {
        const std::string frame = encode(texts[i - 1], texts[i]);
        bytes += frame.size();
        EXPECT_TRUE(chain.apply(frame, kNoLimit));
        if (i % 16 == 0) {
            EXPECT_TRUE(chain.text(Checksum::of(texts[i])).value_or("") == texts[i]);
        }
    }
    EXPECT_TRUE(chain.text(Checksum::of(texts.back())).value_or("") == texts.back());
    return bytes;
}

void expect_any_pair(const Texts& run, const Texts& other) {
    for (std::size_t step = 1; step < run.size(); step += 8) {
        expect_round_trip(run[step], run[step - 1]);
        expect_round_trip(run[step / 3], run[step]);
        expect_round_trip(run[step], run.front());
        expect_round_trip(other[step % other.size()], run[step]);
    }
}

std::vector<Texts> recorded_runs() {
    std::vector<Texts> runs;
    const auto files = find_trajectory_files({folder().string()});
    if (!files) throw std::runtime_error(files.error().to_string());
    for (const auto& file : *files) {
        const auto expanded = expand_trajectories({file}, {.runs_max = kRunsPerFile});
        if (!expanded) throw std::runtime_error(expanded.error().to_string());
        for (const auto& run : *expanded) runs.push_back(texts_of(run));
    }
    return runs;
}

// This is one test, because expanding the runs takes most of its time.
TEST(DeltaTrajectory, NeighbouringSwappedDistantAndUnrelatedStatesAreExact) {
    if (!std::filesystem::exists(folder())) GTEST_SKIP() << "no trajectories at " << folder();
    const std::vector<Texts> runs = recorded_runs();
    for (std::size_t i = 0; i < runs.size(); ++i) {
        std::size_t state_bytes = 0;
        for (const std::string& text : runs[i]) state_bytes += text.size();
        EXPECT_LT(expect_chain(runs[i]), state_bytes / 5);
        expect_any_pair(runs[i], runs[(i + 5) % runs.size()]);
        if (HasFailure()) return;
    }
}

}  // namespace
}  // namespace cairn
