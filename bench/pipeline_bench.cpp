// Measures the cost of a pipeline beyond its saves: 1,000 steps that do nothing, with a state of 100 kB, executed as a
// pipeline and saved alone, in turn. Optimised service, `sync`; for `exit` the number of saves is printed. The stores
// are made in the working folder.

#include "bench_store.h"
#include "in_turn.h"

#include <fmt/format.h>

#include <random>

namespace {

using namespace cairn;
using namespace cairn::bench;

constexpr std::size_t kSteps = 1'000;
constexpr std::size_t kStateBytes = 100'000;
constexpr int kRounds = 5;

State start() {
    std::string text = R"({"messages":[)";
    std::mt19937_64 random(1);
    while (text.size() < kStateBytes) text += fmt::format(R"({{"role":"tool","content":"found {:x}"}},)", random());
    return must(State::parse(text + R"({"role":"user","content":"go on"}]})"));
}

Pipeline pipeline_of_nothing() {
    Pipeline pipeline{.name = "bench", .stages = {}};
    for (std::size_t i = 0; i < kSteps; ++i) {
        pipeline.stages.push_back({.steps = {{.name = fmt::format("step {}", i), .agent = "nothing"}}});
    }
    return pipeline;
}

std::shared_ptr<ExecutionEngine> make_engine() {
    auto engine = std::make_shared<ExecutionEngine>();
    must(engine->add_agent("nothing", [](const State& state, const AgentCall&) -> Result<State> { return state; }));
    return engine;
}

ExecutorOptions optimised(Durability durability) {
    ExecutorOptions options;
    options.config.enable_optimized_persistence = true;
    options.config.durability = durability;
    return options;
}

/// Executes once; stores its saves in `saves`, if given.
double execute(std::vector<StatePersistenceRequest>* saves) {
    const ScratchFolder folder;
    const auto store = folder.open_store();
    PipelineExecutor executor(make_engine(), nullptr, store, optimised(Durability::kSync));
    const Pipeline pipeline = pipeline_of_nothing();
    const State state = start();
    const double seconds = seconds_of([&] {
        const auto result = must(executor.execute_pipeline(pipeline, state, "run", {.thread_id = "t", .user_id = "u"}));
        if (result.status != PipelineStatus::kCompleted) must<void>(std::unexpected(*result.error));
    });
    if (saves == nullptr) return seconds;
    const HistoryQuery all{.run_id = "run", .order = HistoryQuery::Order::kOldestFirst, .limit = kSteps + 1};
    const std::vector<SnapshotInfo> history = must(store->history(all, Deadline::max()));
    for (const SnapshotInfo& info : history) {
        StatePersistenceRequest request = request_for(
            "run",
            must(executor.state_persistence().load_agent_state({.run_id = "run", .snapshot_id = info.snapshot_id}))
                .state);
        request.checkpoint_type = info.checkpoint_type;
        request.agent_phase = info.agent_phase;
        request.metadata = must(State::parse(info.metadata));
        saves->push_back(std::move(request));
    }
    return seconds;
}

double save_alone(const std::vector<StatePersistenceRequest>& saves) {
    const ScratchFolder folder;
    const auto service = make_persistence(optimised(Durability::kSync).config, folder.open_store());
    return seconds_of([&] {
        for (const StatePersistenceRequest& save : saves) must(service->save_agent_state(save));
    });
}

void measure() {
    std::vector<StatePersistenceRequest> saves;
    execute(&saves);
    std::vector<double> pipeline;
    std::vector<double> alone;
    for (int round = 0; round < kRounds; ++round) {
        pipeline.push_back(execute(nullptr));
        alone.push_back(save_alone(saves));
    }
    fmt::print(
        "pipeline of {} steps, 100 kB, sync: {:.0f} us a step; its {} saves alone {:.0f} us a step: {:.2f} "
        "times (limit 1.3)\n",
        kSteps, 1e6 * median_of(pipeline) / kSteps, saves.size(), 1e6 * median_of(alone) / kSteps,
        median_of(pipeline) / median_of(alone));
}

void count_saves_under_exit() {
    const ScratchFolder folder;
    PipelineExecutor executor(make_engine(), nullptr, folder.open_store(), optimised(Durability::kExit));
    const auto result =
        must(executor.execute_pipeline(pipeline_of_nothing(), start(), "run", {.thread_id = "t", .user_id = "u"}));
    fmt::print("under exit: {} save for {} steps (limit 1)\n", result.saves, kSteps);
}

}  // namespace

int main() {
    measure();
    count_saves_under_exit();
}
