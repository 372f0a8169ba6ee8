// A duplicate save, from text to receipt, compared with the least that an exact skip must do: parse the text, and
// compare it with the head's text.

#include "bench_store.h"
#include "benchmarks.h"
#include "in_turn.h"

#include <cstring>

namespace cairn::bench {
namespace {

constexpr double kRatioAim = 1.5;

void skip_given_text(benchmark::State& state, const SizeClass& sizes) {
    const ScratchFolder folder;
    OptimizedStatePersistence service(folder.open_store());
    save_heads(service, sizes);
    std::vector<StatePersistenceRequest> requests;
    for (std::size_t index = 0; index < sizes.states.size(); ++index) {
        requests.push_back(request_for(run_of(index), State()));
    }

    InTurn in_turn(sizes.states.size());
    in_turn.run(
        state,
        [&](std::size_t index) {
            requests[index].state_data = must(State::parse(sizes.states[index].text()));
            const Receipt receipt = must(service.save_agent_state(requests[index]));
            if (receipt.outcome != Outcome::kDeduplicated) std::abort();
        },
        [&](std::size_t index) {
            const std::string_view head = sizes.states[index].text();
            const State given = must(State::parse(head));
            if (std::memcmp(given.text().data(), head.data(), head.size()) != 0) std::abort();
        });
    in_turn.report_totals(state, kRatioAim);
}

}  // namespace

void register_skip_benchmarks() {
    register_by_size("skip_vs_parse_and_memcmp", skip_given_text);
}

}  // namespace cairn::bench
