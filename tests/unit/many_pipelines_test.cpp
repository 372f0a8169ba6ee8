// Goal: the needs of many runs in one process do not grow with their number. They share one thread for their leases,
// one for their timeouts, one commit per heartbeat, and one service if they are given one. Method: 50 runs wait in a
// step with a timeout. Threads are counted in /proc, commits and leases by the store. The number of commits is compared
// with the time that has passed, however long that is.

#include "support/eventually.h"
#include "support/make.h"
#include "support/pipeline_bench.h"
#include "support/threads_of_process.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

using std::chrono::milliseconds;
using testing::Each;

constexpr std::size_t kRuns = 50;

class ManyPipelines : public testing::Test {
protected:
    using Run = std::future<Result<PipelineResult>>;

    /// Begins the runs, each on its own thread and with its own executor.
    std::vector<Run> begin(const Pipeline& pipeline) {
        std::vector<Run> runs;
        for (std::size_t i = 0; i < kRuns; ++i) {
            runs.push_back(std::async(
                std::launch::async, [this, pipeline, i] { return bench.execute(pipeline, fmt::format("run {}", i)); }));
        }
        return runs;
    }
    static void expect_completed(std::vector<Run>& runs) {
        for (Run& run : runs) {
            const Result<PipelineResult> result = run.get();
            ASSERT_TRUE(result) << result.error().to_string();
            EXPECT_EQ(result->status, PipelineStatus::kCompleted);
        }
    }

    PipelineBench bench;
};

// ---- threads and heartbeats ----

class ManyPipelinesAtOnce : public ManyPipelines {
protected:
    ManyPipelinesAtOnce() {
        bench.add("hold", [this](const State& state, const AgentCall&) -> Result<State> {
            are_held.count_down();
            may_go.wait();
            return state;
        });
        bench.store->before_commit([this](std::span<const RunBatch> batches) {
            const auto renews = [](const RunBatch& batch) {
                return batch.lease && batch.lease->lease == batch.lease->expected;
            };
            const std::lock_guard lock(mutex);
            if (std::ranges::all_of(batches, renews)) renewals.push_back(batches.size());
        });
        pipeline.stages[0].steps[0].timeout = std::chrono::hours(1);
    }
    std::vector<std::size_t> renewals_until_now() {
        const std::lock_guard lock(mutex);
        return renewals;
    }

    Pipeline pipeline{.name = "p", .stages = {alone("a", "hold")}};
    std::latch are_held{kRuns};
    std::latch may_go{1};
    std::mutex mutex;
    std::vector<std::size_t> renewals;  // the number of leases that each commit renewed; guarded by the mutex
};

TEST_F(ManyPipelinesAtOnce, NeedEightThreadsAtMostBesideThoseOfTheirAgents) {
    const std::size_t before = threads_of_process();
    std::vector<Run> runs = begin(pipeline);
    are_held.wait();
    EXPECT_LE(threads_of_process(), before + kRuns + 8);
    may_go.count_down();
    expect_completed(runs);
}

TEST_F(ManyPipelinesAtOnce, RenewAllTheirLeasesByOneCommitAHeartbeat) {
    bench.options.heartbeat = milliseconds(100);
    const auto began = std::chrono::steady_clock::now();
    std::vector<Run> runs = begin(pipeline);
    are_held.wait();
    const std::size_t until_all_were_held = renewals_until_now().size();
    EXPECT_TRUE(eventually([&] { return renewals_until_now().size() >= until_all_were_held + 8; }));
    const std::vector<std::size_t> all = renewals_until_now();
    const auto heartbeats = (std::chrono::steady_clock::now() - began) / bench.options.heartbeat;
    may_go.count_down();
    expect_completed(runs);
    ASSERT_GE(all.size(), until_all_were_held + 8) << "the leases are not renewed";
    EXPECT_LE(all.size(), static_cast<std::size_t>(heartbeats) + 3);
    // While the last runs begin, a few commits may lack some of the leases.
    EXPECT_THAT(std::vector(all.begin() + static_cast<std::ptrdiff_t>(until_all_were_held) + 4, all.end()),
                Each(kRuns));
}

// ---- one service ----

TEST_F(ManyPipelines, ShareTheServiceThatTheyAreGivenAndLeaveItOpen) {
    const auto service = std::make_shared<OptimizedStatePersistence>(bench.store);
    bench.options.state_persistence = service;
    EXPECT_EQ(&bench.executor()->state_persistence(), service.get());
    std::vector<Run> runs = begin({.name = "p", .stages = {alone("a"), together({"x", "y"}), alone("b")}});
    expect_completed(runs);
    const CacheStats stats = service->get_cache_stats();
    EXPECT_EQ(stats.cache_size, kRuns);
    std::size_t saved = 0;
    for (std::size_t i = 0; i < kRuns; ++i) saved += bench.history(fmt::format("run {}", i)).size();
    EXPECT_EQ(stats.saves_by_outcome.at("persisted"), saved);
    EXPECT_TRUE(service->save_agent_state(make_request("another run"))) << "whoever made it closes it";
    EXPECT_TRUE(service->close());
}

TEST_F(ManyPipelines, ThatSaveThroughAServiceWhichWasClosedEndWithItsError) {
    const auto service = std::make_shared<OptimizedStatePersistence>(bench.store);
    bench.options.state_persistence = service;
    ASSERT_TRUE(service->close());
    const Result<PipelineResult> result = bench.execute({.name = "p", .stages = {alone("a")}});
    ASSERT_TRUE(result);
    EXPECT_EQ(result->status, PipelineStatus::kInterrupted);
    EXPECT_EQ(result->error->code, ErrorCode::kClosed);
}

// The configuration has another durability than the service, in both directions.
TEST_F(ManyPipelines, SaveWithTheDurabilityOfTheirConfigurationWhateverTheServicesIs) {
    OptimizedOptions lazy;
    lazy.durability = Durability::kExit;
    bench.options.state_persistence = std::make_shared<OptimizedStatePersistence>(bench.store, lazy);
    const Pipeline pipeline{.name = "p", .stages = {alone("a"), alone("b"), alone("c")}};
    const PipelineResult strict = bench.complete(pipeline, "strict");
    EXPECT_THAT(strict.steps, Each(testing::Field(&StepResult::is_saved, true)));
    EXPECT_EQ(bench.types("strict").size(), 4U);

    bench.options.config.durability = Durability::kExit;
    bench.options.state_persistence = std::make_shared<OptimizedStatePersistence>(bench.store);
    bench.complete(pipeline, "lazy");
    EXPECT_EQ(bench.types("lazy"), std::vector<std::string>{"pipeline_complete"});
}

}  // namespace
}  // namespace cairn::test
