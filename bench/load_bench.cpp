// Loading a run's newest state, from the store to verified text.

#include "bench_store.h"
#include "benchmarks.h"
#include "in_turn.h"

namespace cairn::bench {
namespace {

template <class Service>
void load_latest(benchmark::State& state, const SizeClass& sizes) {
    const ScratchFolder folder;
    Service service(folder.open_store());
    save_heads(service, sizes);
    std::vector<double> seconds;
    for (auto _ : state) {
        double total = 0;
        for (std::size_t index = 0; index < sizes.states.size(); ++index) {
            const LoadRequest request{.run_id = run_of(index)};
            seconds.push_back(seconds_of([&] { benchmark::DoNotOptimize(must(service.load_agent_state(request))); }));
            total += seconds.back();
        }
        state.SetIterationTime(total);
    }
    state.counters["p50_us"] = median_of(seconds) * 1e6;
    state.SetBytesProcessed(static_cast<std::int64_t>(sizes.state_bytes()) * state.iterations());
}

}  // namespace

void register_load_benchmarks() {
    register_by_size("load_latest_optimized", load_latest<OptimizedStatePersistence>);
    register_by_size("load_latest_standard", load_latest<StatePersistenceService>);
}

}  // namespace cairn::bench
