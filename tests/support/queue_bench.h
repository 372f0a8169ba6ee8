#pragma once

// A service over a memory store whose commits can be held up, so that a test decides what is queued when a batch is
// made. The inner store, `inner`, stands for the disk.

#include <cairn/faulty_store.h>
#include "store/memory/memory_store.h"
#include "support/eventually.h"
#include "support/gate.h"
#include "support/make.h"

#include <cairn/persistence.h>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {

inline std::string step_text(std::int64_t step) {
    return fmt::format(R"({{"step":{}}})", step);
}

/// Makes a request for save number `step` of a run.
inline StatePersistenceRequest make_step(std::string run_id, std::int64_t step,
                                         std::optional<Durability> durability = {}) {
    StatePersistenceRequest request = make_request(std::move(run_id), step_text(step));
    request.durability = durability;
    return request;
}

class QueueBench {
public:
    QueueBench() {
        // Even on a slow machine, no time limit may be reached that the test has not set.
        options.timeout = std::chrono::minutes(10);
        options.queue_limits.age_max = std::chrono::minutes(10);
        store->set_commits_at_once(1);  // so that the saves that arrive meanwhile are committed together
        store->before_commit([this](std::span<const RunBatch> commit) { gate.pass(commit); });
    }
    ~QueueBench() { gate.open(); }
    QueueBench(const QueueBench&) = delete;
    QueueBench& operator=(const QueueBench&) = delete;

    OptimizedStatePersistence& service() {
        if (!service_) {
            options.runtime = make_runtime();
            service_ = std::make_unique<OptimizedStatePersistence>(store, options);
        }
        return *service_;
    }
    void destroy_service() { service_.reset(); }

    /// Closes the gate and makes a save of the run "blocker" wait at it. Later saves are queued behind that one.
    void hold_up() {
        gate.close();
        blocker_ = in_background(make_step("blocker", ++blockers_, Durability::kSync));
        gate.await(1);
        gate.forget_batches();
    }
    void let_go() {
        gate.open();
        if (blocker_.valid()) {
            EXPECT_TRUE(blocker_.get().has_value());
        }
    }
    std::future<Result<Receipt>> in_background(StatePersistenceRequest request) {
        return std::async(std::launch::async,
                          [request = std::move(request), &to = service()] { return to.save_agent_state(request); });
    }
    bool becomes_queued(std::size_t saves) {
        return eventually([&] { return service().get_cache_stats().queue_size >= saves; });
    }

    /// Waits until some call has the run's turn. Then a save must wait for it; before that, this one is refused.
    bool is_in_turn(const std::string& run_id) {
        StatePersistenceRequest probe = make_step(run_id, 0);
        probe.on_conflict = OnConflict::kFail;
        probe.expected_version = 1'000'000;
        probe.timeout = std::chrono::milliseconds(1);
        return eventually([&] {
            const Result<Receipt> refused = service().save_agent_state(probe);
            return !refused && refused.error().code == ErrorCode::kUnavailable;
        });
    }

    /// Returns the texts of the run's states that are on disk, the oldest first.
    std::vector<std::string> on_disk(const std::string& run_id) {
        StatePersistenceService reader(inner);
        std::vector<std::string> texts;
        const HistoryQuery all{.run_id = run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 100'000};
        const std::vector<SnapshotInfo> history = inner->history(all, soon()).value();
        for (const SnapshotInfo& info : history) {
            const auto loaded = reader.load_agent_state({.run_id = run_id, .snapshot_id = info.snapshot_id});
            texts.emplace_back(loaded ? std::string(loaded->state.text()) : loaded.error().to_string());
        }
        return texts;
    }
    static std::vector<std::string> steps(std::initializer_list<std::int64_t> numbers) {
        std::vector<std::string> texts;
        for (const std::int64_t number : numbers) texts.push_back(step_text(number));
        return texts;
    }

    std::shared_ptr<Store> inner = make_memory_store();
    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(inner);
    Gate gate;
    OptimizedOptions options;  ///< For the service. Change them before it is first used.

private:
    std::unique_ptr<OptimizedStatePersistence> service_;
    std::future<Result<Receipt>> blocker_;
    std::int64_t blockers_ = 0;
};

template <class T>
ErrorCode code_of(const Result<T>& result) {
    EXPECT_FALSE(result.has_value());
    return result ? ErrorCode::kInternal : result.error().code;
}

}  // namespace cairn::test
