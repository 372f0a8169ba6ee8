// Measures the cost of a State by itself, in bytes of input per second: parse, equality, checksum, look-up. For
// comparison, it also measures the machine's best (memcpy + memcmp) and simdjson's own parser.

#include "bench_states.h"
#include "benchmarks.h"
#include "in_turn.h"

#include "replay/tokens.h"

#include <cairn/state.h>

#include <benchmark/benchmark.h>
#include <simdjson.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace cairn::bench {
namespace {

using nlohmann::ordered_json;

constexpr double kNormalAim = 1.5e9;  // bytes of input a second
constexpr double kIndentedAim = 1.0e9;

struct Sample {
    std::string name;
    std::string normal;
    std::string indented;
    std::string permuted;  ///< `normal` with its top-level members in reverse.
    std::string changed;   ///< `normal` with one byte near its end changed.
};

/// The state of median size of its class, in all measured forms.
Sample sample_of(const SizeClass& sizes) {
    std::vector<State> states = sizes.states;
    std::ranges::sort(states, {}, &State::size_bytes);
    const std::string normal(states[states.size() / 2].text());
    const auto document = ordered_json::parse(shield_tokens(normal, StateLimits{}.depth_max).value());
    ordered_json reversed = ordered_json::object();
    for (auto member = document.end(); member != document.begin();) {
        --member;
        reversed[member.key()] = member.value();
    }
    Sample sample{sizes.name, normal, restore_tokens(document.dump(2)), restore_tokens(reversed.dump()), normal};
    ++sample.changed[normal.find_last_of("abcdefghijklmnopqrstuvwxy0123456789")];
    return sample;
}

std::vector<Sample> samples() {
    std::vector<Sample> samples;
    for (const SizeClass& sizes : size_classes()) samples.push_back(sample_of(sizes));
    return samples;
}

State parsed(const std::string& text) {
    return State::parse(std::string_view(text)).value();
}

/// Registers `name`/sample: repeats `work`, counted as `bytes` each time.
void add(const std::string& name, const Sample& sample, std::size_t bytes, std::function<void()> work,
         std::optional<double> aim = {}) {
    benchmark::RegisterBenchmark((name + "/" + sample.name).c_str(), [=](benchmark::State& state) {
        for ([[maybe_unused]] auto _ : state) work();
        state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
        if (aim) state.counters[kBytesPerSecondMin] = *aim;
    });
}

void add_parse(const std::string& name, const Sample& sample, const std::string& text, double aim) {
    add(name, sample, text.size(), [&text] { benchmark::DoNotOptimize(State::parse(std::string_view(text))); }, aim);
}

void add_equality(const std::string& name, const Sample& sample, const std::string& other) {
    const State left = parsed(sample.normal);
    const State right = State::from_normal_text(std::string(other));
    add(name, sample, sample.normal.size(), [=] { benchmark::DoNotOptimize(left == right); });
}

void add_reads(const Sample& sample) {
    const State state = parsed(sample.normal);
    add("checksum", sample, state.size_bytes(), [=] { benchmark::DoNotOptimize(state.checksum()); });
    add("member_absent", sample, state.size_bytes(), [=] { benchmark::DoNotOptimize(state.member("absent")); });
}

void add_yardsticks(const Sample& sample) {
    const std::string& text = sample.normal;
    auto copy = std::make_shared<std::string>(text);
    add("yardstick_memcpy_memcmp", sample, text.size(), [=, &text] {
        std::memcpy(copy->data(), text.data(), text.size());
        benchmark::DoNotOptimize(std::memcmp(copy->data(), text.data(), text.size()));
    });
    auto parser = std::make_shared<simdjson::dom::parser>();
    auto padded = std::make_shared<simdjson::padded_string>(text);
    add("yardstick_simdjson_dom", sample, text.size(),
        [=] { benchmark::DoNotOptimize(parser->parse(*padded).error()); });
}

}  // namespace

void register_state_benchmarks() {
    static const std::vector<Sample> kSamples = samples();  // the benchmarks refer to them
    for (const Sample& sample : kSamples) {
        add_parse("parse_normal", sample, sample.normal, kNormalAim);
        add_parse("parse_indented", sample, sample.indented, kIndentedAim);
        add_equality("equal_same_text", sample, sample.normal);
        add_equality("equal_one_byte_changed", sample, sample.changed);
        add_equality("equal_keys_permuted", sample, sample.permuted);
        add_reads(sample);
        add_yardsticks(sample);
    }
}

}  // namespace cairn::bench
