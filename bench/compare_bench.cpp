// What deduplication is made of: checksum and equality of states.

#include "bench_store.h"
#include "benchmarks.h"
#include "in_turn.h"

#include <cstring>

namespace cairn::bench {
namespace {

std::vector<State> copies_of(const std::vector<State>& states) {
    std::vector<State> copies;
    for (const State& state : states) copies.push_back(State::from_normal_text(std::string(state.text())));
    return copies;
}

void checksum(benchmark::State& state, const SizeClass& sizes) {
    for (auto _ : state) {
        state.SetIterationTime(seconds_of([&] {
            for (const State& one : sizes.states) benchmark::DoNotOptimize(one.checksum());
        }));
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(sizes.state_bytes()) * state.iterations());
}

void equal_states(benchmark::State& state, const SizeClass& sizes) {
    const std::vector<State> others = copies_of(sizes.states);
    InTurn in_turn(sizes.states.size());
    in_turn.run(
        state, [&](std::size_t index) { benchmark::DoNotOptimize(sizes.states[index] == others[index]); },
        [&](std::size_t index) {
            const std::string_view text = sizes.states[index].text();
            benchmark::DoNotOptimize(std::memcmp(text.data(), others[index].text().data(), text.size()));
        });
    in_turn.report_totals(state);
}

/// Neighbouring steps, as a run compares them: mostly of different length.
void different_states(benchmark::State& state, const SizeClass& sizes) {
    for (auto _ : state) {
        state.SetIterationTime(seconds_of([&] {
            for (std::size_t index = 1; index < sizes.states.size(); ++index) {
                benchmark::DoNotOptimize(sizes.states[index] == sizes.states[index - 1]);
            }
        }));
    }
}

/// Of one length, with one digit changed: the structure need not be looked at, because the bytes are no permutation.
void states_of_one_length(benchmark::State& state, const SizeClass& sizes) {
    std::vector<State> others;
    for (const State& one : sizes.states) {
        std::string text(one.text());
        const std::size_t letter = text.find_last_of("abcdefghijklmnopqrstuvwxyz");
        if (letter != std::string::npos) text[letter] = text[letter] == 'a' ? 'b' : 'a';
        others.push_back(State::from_normal_text(std::move(text)));
    }
    for (auto _ : state) {
        state.SetIterationTime(seconds_of([&] {
            for (std::size_t index = 0; index < others.size(); ++index) {
                benchmark::DoNotOptimize(sizes.states[index] == others[index]);
            }
        }));
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(sizes.state_bytes()) * state.iterations());
}

}  // namespace

void register_compare_benchmarks() {
    register_by_size("checksum", checksum);
    register_by_size("equality_equal_vs_memcmp", equal_states);
    register_by_size("equality_neighbours", different_states);
    register_by_size("equality_one_letter_changed", states_of_one_length);
}

}  // namespace cairn::bench
