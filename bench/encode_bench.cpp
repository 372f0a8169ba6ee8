// A save of a small state that changed a little, without the commit: check, compare, checksum, encode. It is compared
// with the same by zstd alone, which was the encoder of such changes before. (It makes no frame, which favours it.)

#include "bench_states.h"
#include "benchmarks.h"
#include "frame/block_match.h"
#include "frame/delta_frame.h"
#include "frame/delta_layout.h"
#include "frame/zstd_codec.h"
#include "in_turn.h"

#include <cstdlib>
#include <limits>

namespace cairn::bench {
namespace {

constexpr double kRatioAim = 0.6;
constexpr std::size_t kNewBytesMax = 511;  ///< More new bytes go to zstd, as before.

struct Change {
    const State* before;
    const State* after;
};

std::string collected_literals(const Change& change, std::vector<Copy>& copies) {
    const std::string_view text = change.after->text();
    find_copies(change.before->text(), text, copies);
    std::string literals;
    collect_literals(text, copies, literals);
    return literals;
}

/// The pairs of neighbours with few new bytes; a third of their bytes is in common, so they are steps of one run.
std::vector<Change> changes_of(const SizeClass& sizes) {
    std::vector<Change> changes;
    for (std::size_t index = 1; index < sizes.states.size(); ++index) {
        const Change change{&sizes.states[index - 1], &sizes.states[index]};
        std::vector<Copy> copies;
        const std::size_t literals = collected_literals(change, copies).size();
        const bool is_step = literals * 3 < change.after->size_bytes() * 2;
        if (*change.before != *change.after && is_step && literals <= kNewBytesMax) changes.push_back(change);
    }
    return changes;
}

State parse_as_caller(const Change& change) {
    Result<State> state = State::parse(change.after->text());
    if (!state || *state == *change.before) std::abort();
    benchmark::DoNotOptimize(state->checksum());
    return std::move(*state);
}

void save(const Change& change) {
    const State state = parse_as_caller(change);
    const auto frame = encode_delta_frame(change.before->text(), state.text(), FrameOptions{},
                                          std::numeric_limits<std::size_t>::max());
    if (!frame) std::abort();
    benchmark::DoNotOptimize(*frame);
}

void save_by_zstd(const Change& change) {
    const State state = parse_as_caller(change);
    const std::string_view base = change.before->text();
    std::vector<Copy> copies;
    const std::string literals = collected_literals({change.before, &state}, copies);
    const ContextRange context = context_range(FrameKind::kDeltaZstdNear, copies, base.size());
    std::string blocks;
    if (!zstd_compress_blocks(literals, base.substr(context.begin, context.bytes), FrameOptions{}.zstd_level_delta,
                              blocks)) {
        std::abort();
    }
    benchmark::DoNotOptimize(blocks);
}

void encode_small(benchmark::State& state, const SizeClass& sizes) {
    const std::vector<Change> changes = changes_of(sizes);
    if (changes.empty()) return state.SkipWithError("no states of this size");
    InTurn in_turn(changes.size());
    in_turn.run(
        state, [&](std::size_t index) { save(changes[index]); },
        [&](std::size_t index) { save_by_zstd(changes[index]); });
    in_turn.report_totals(state, kRatioAim);
}

}  // namespace

void register_encode_benchmarks() {
    const SizeClass& smallest = size_classes().front();
    benchmark::RegisterBenchmark(("save_without_commit_vs_zstd/" + smallest.name).c_str(),
                                 [&smallest](benchmark::State& state) { encode_small(state, smallest); })
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

}  // namespace cairn::bench
