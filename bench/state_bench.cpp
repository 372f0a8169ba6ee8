// What a State costs by itself, in bytes of input a second: parse, equality, checksum, look-up; beside them what the
// machine can do at best (memcpy + memcmp) and what simdjson's own parser takes.
//
// CAIRN_BENCH_STATES names a folder of states (*.json, one state a file). Without it they are made up here: a chat of
// an agent, the same each time.

#include <cairn/state_json.h>

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

namespace {

using cairn::State;
using nlohmann::ordered_json;

struct Sample {
    std::string name;
    std::string normal;
    std::string indented;
    std::string permuted;  ///< `normal` with its top-level members in reverse.
    std::string changed;   ///< `normal` with one byte near its end changed.
};

Sample sample_of(std::string name, const ordered_json& document) {
    ordered_json reversed = ordered_json::object();
    for (auto member = document.end(); member != document.begin();) {
        --member;
        reversed[member.key()] = member.value();
    }
    Sample sample{std::move(name), document.dump(), document.dump(2), reversed.dump(), {}};
    sample.changed = sample.normal;
    const std::size_t letter = sample.changed.find_last_of("abcdefghijklmnopqrstuvwxy0123456789");
    ++sample.changed[letter];
    return sample;
}

/// A chat with tool calls, filled up to about `bytes`.
ordered_json made_up_state(std::size_t bytes) {
    ordered_json state{{"run", 17}, {"phase", "data_analysis"}, {"messages", ordered_json::array()}};
    state["counters"] = {{"calls", 12}, {"tokens", 48213}, {"cost", 0.031415926535}};
    for (int step = 0; state.dump().size() < bytes; ++step) {
        std::string output;
        for (std::size_t line = 0; line < std::clamp<std::size_t>(bytes / 4000, 1, 60); ++line) {
            output += fmt::format("src/part_{}.cpp:{}: \"state {}\" – see the log\n", step, line * 7, step * 31);
        }
        state["messages"].push_back({{"role", "tool"}, {"id", step}, {"ok", step % 5 != 0}, {"content", output}});
    }
    return state;
}

std::vector<Sample> samples() {
    std::vector<Sample> samples;
    if (const char* folder = std::getenv("CAIRN_BENCH_STATES")) {
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            if (entry.path().extension() != ".json") continue;
            std::ifstream file(entry.path(), std::ios::binary);
            samples.push_back(sample_of(entry.path().stem().string(), ordered_json::parse(file)));
        }
    } else {
        for (const std::size_t bytes : {700U, 13'000U, 100'000U, 600'000U}) {
            samples.push_back(sample_of(fmt::format("made_up_{}", bytes), made_up_state(bytes)));
        }
    }
    std::ranges::sort(samples, {}, [](const Sample& sample) { return sample.normal.size(); });
    return samples;
}

State parsed(const std::string& text) {
    return State::parse(std::string_view(text)).value();
}

/// Registers `name`/sample: `work` again and again, counted as `bytes` each.
void add(const std::string& name, const Sample& sample, std::size_t bytes, std::function<void()> work) {
    benchmark::RegisterBenchmark((name + "/" + sample.name).c_str(), [=](benchmark::State& state) {
        for ([[maybe_unused]] auto _ : state) work();
        state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
    });
}

void add_parse(const std::string& name, const Sample& sample, const std::string& text) {
    add(name, sample, text.size(), [&text] { benchmark::DoNotOptimize(State::parse(std::string_view(text))); });
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

int main(int argument_count, char** arguments) {
    benchmark::Initialize(&argument_count, arguments);
    if (benchmark::ReportUnrecognizedArguments(argument_count, arguments)) return 1;
    const std::vector<Sample> all = samples();
    for (const Sample& sample : all) {
        add_parse("parse_normal", sample, sample.normal);
        add_parse("parse_indented", sample, sample.indented);
        add_equality("equal_same_text", sample, sample.normal);
        add_equality("equal_one_byte_changed", sample, sample.changed);
        add_equality("equal_keys_permuted", sample, sample.permuted);
        add_reads(sample);
        add_yardsticks(sample);
    }
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
