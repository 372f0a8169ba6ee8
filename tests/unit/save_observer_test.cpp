// Goal: the observer of a service is told of every save exactly once, in the words of the receipt, and it can disturb
// nothing: it may call the service, be slow or throw.
// Method: each way to save (blocking, `…_async`, `save_async`) with each outcome, on both services, over a store that
// fails or holds commits up on demand; then many threads that save at random, counted.

#include "support/eventually.h"
#include "support/make.h"
#include "support/queue_bench.h"
#include "support/seed.h"

#include <cairn/persistence.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

/// Keeps what it is told.
class Watch {
public:
    SaveObserver observer() {
        return [this](const SaveEvent& event) {
            const std::lock_guard lock(mutex_);
            events_.push_back(event);
        };
    }
    std::vector<SaveEvent> events() const {
        const std::lock_guard lock(mutex_);
        return events_;
    }
    SaveEvent last() const { return events().at(events().size() - 1); }
    /// "run persisted", "run failed conflict", "run failed storage_full lost", …
    std::vector<std::string> summary() const {
        std::vector<std::string> lines;
        for (const SaveEvent& event : events()) {
            std::string line = fmt::format("{} {}", event.run_id, to_string(event.outcome()));
            if (event.error) line += fmt::format(" {}", error_info(event.error->code).name);
            if (event.is_lost) line += " lost";
            lines.push_back(std::move(line));
        }
        return lines;
    }

private:
    mutable std::mutex mutex_;
    std::vector<SaveEvent> events_;
};

/// A way to make a save and to wait for its end.
enum class Way : std::uint8_t { kBlocking, kAsync, kOwnThread };

struct Kind {
    bool is_optimized;
    Way way;
};

std::string name_of(const testing::TestParamInfo<Kind>& kind) {
    constexpr std::array<const char*, 3> kWays{"Blocking", "Async", "OwnThread"};
    return fmt::format("{}{}", kind.param.is_optimized ? "Optimised" : "Standard",
                       kWays.at(static_cast<std::size_t>(kind.param.way)));
}

class SaveObserverTest : public testing::TestWithParam<Kind> {
protected:
    SaveObserverTest() {
        options.observer = watch.observer();
        options.runtime = make_runtime();
        options.timeout = std::chrono::minutes(10);
    }

    bool is_optimized() const { return GetParam().is_optimized; }
    StatePersistence& service() {
        if (!service_ && is_optimized()) service_ = std::make_unique<OptimizedStatePersistence>(store, options);
        if (!service_) service_ = std::make_unique<StatePersistenceService>(store, options);
        return *service_;
    }

    Result<Receipt> save(const StatePersistenceRequest& request) {
        if (GetParam().way == Way::kBlocking) return service().save_agent_state(request);
        if (GetParam().way == Way::kOwnThread) {
            return dynamic_cast<OptimizedStatePersistence&>(service()).save_async(request).get();
        }
        auto promise = std::make_shared<std::promise<Result<Receipt>>>();
        service().save_agent_state_async(request, [promise](Result<Receipt> ended) { promise->set_value(ended); });
        return promise->get_future().get();
    }

    Watch watch;
    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(make_memory_store());
    OptimizedOptions options;

private:
    std::unique_ptr<StatePersistence> service_;
};

INSTANTIATE_TEST_SUITE_P(Ways, SaveObserverTest,
                         testing::Values(Kind{false, Way::kBlocking}, Kind{false, Way::kAsync},
                                         Kind{true, Way::kBlocking}, Kind{true, Way::kAsync},
                                         Kind{true, Way::kOwnThread}),
                         name_of);

TEST_P(SaveObserverTest, IsToldWhatWasSavedAndHow) {
    StatePersistenceRequest request = make_request("run", R"({"step":1})", CheckpointType::kIntermediate);
    request.agent_phase = AgentPhase::kTriage;
    const Receipt receipt = save(request).value();
    ASSERT_THAT(watch.summary(), ElementsAre("run persisted"));
    const SaveEvent event = watch.last();
    EXPECT_EQ(event.thread_id + event.user_id, "threaduser");
    EXPECT_EQ(event.checkpoint_type, CheckpointType::kIntermediate);
    EXPECT_EQ(event.agent_phase, AgentPhase::kTriage);
    EXPECT_EQ(event.state_bytes, request.state_data.size_bytes());
    EXPECT_EQ(event.receipt.value().snapshot_id, receipt.snapshot_id);
    EXPECT_EQ(event.receipt.value().version, receipt.version);
    EXPECT_EQ(event.receipt.value().frame_bytes, receipt.frame_bytes);
    EXPECT_GE(event.duration.count(), 0);
    EXPECT_GT(event.time, kEpoch) << "by the service's clock";
    EXPECT_FALSE(event.error.has_value());
}

TEST_P(SaveObserverTest, IsToldOfASkip) {
    ASSERT_TRUE(save(make_request("run")).has_value());
    ASSERT_TRUE(save(make_request("run")).has_value());
    EXPECT_THAT(watch.summary(), ElementsAre("run persisted", is_optimized() ? "run deduplicated" : "run persisted"));
}

TEST_P(SaveObserverTest, IsToldOnceOfACriticalSave) {
    ASSERT_TRUE(save(make_request("run", R"({"a":1})", CheckpointType::kManual)).has_value());
    EXPECT_THAT(watch.summary(), ElementsAre("run persisted"));
}

TEST_P(SaveObserverTest, IsToldOnceOfASaveThatFallsBack) {
    store->inject({.code = ErrorCode::kUnavailable});
    const Result<Receipt> receipt = save(make_request("run"));
    EXPECT_EQ(receipt.has_value(), is_optimized());
    EXPECT_THAT(watch.summary(), ElementsAre(is_optimized() ? "run fallback" : "run failed unavailable"));
}

TEST_P(SaveObserverTest, IsToldOfASaveThatFails) {
    store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
    const Result<Receipt> failed = save(make_request("run"));
    ASSERT_FALSE(failed.has_value());
    ASSERT_THAT(watch.summary(), ElementsAre("run failed storage_full"));
    EXPECT_EQ(watch.last().error.value().message, failed.error().message);
    EXPECT_FALSE(watch.last().receipt.has_value());
}

TEST_P(SaveObserverTest, IsToldOfASaveThatIsRefused) {
    StatePersistenceRequest nobodys = make_request("run");
    nobodys.user_id.clear();
    EXPECT_FALSE(save(nobodys).has_value());
    ASSERT_TRUE(service().close().has_value());
    EXPECT_FALSE(save(make_request("run")).has_value());
    EXPECT_THAT(watch.summary(), ElementsAre("run failed invalid_argument", "run failed closed"));
}

TEST_P(SaveObserverTest, MayCallTheService) {
    std::atomic<int> nested = 0;
    options.observer = [&](const SaveEvent& event) {
        watch.observer()(event);
        if (auto* optimized = dynamic_cast<OptimizedStatePersistence*>(&service())) {
            EXPECT_EQ(optimized->get_cache_stats().queue_size, 0U);
        }
        EXPECT_EQ(service().load_agent_state({.run_id = event.run_id}).value().info.version,
                  event.receipt.value().version);
        EXPECT_TRUE(service().flush(event.run_id).has_value());
        if (nested++ == 0) {
            EXPECT_TRUE(service().save_agent_state(make_request("run", R"({"nested":1})")).has_value());
        }
    };
    EXPECT_EQ(save(make_request("run")).value().version, 1);
    EXPECT_THAT(watch.summary(), ElementsAre("run persisted", "run persisted"));
    EXPECT_EQ(watch.last().receipt.value().version, 2);
}

TEST_P(SaveObserverTest, ThatThrowsIsLoggedOnceAndStillTold) {
    std::atomic<int> told = 0;
    std::mutex mutex;
    std::vector<std::string> logged;
    options.runtime = make_runtime(1, [&](const LogRecord& record) {
        const std::lock_guard lock(mutex);
        logged.push_back(fmt::format("{} {}", record.event, record.message));
    });
    options.observer = [&](const SaveEvent&) {
        if (told++ == 0) throw std::runtime_error("no room for metrics");
        throw 42;  // NOLINT: observers are other people's code
    };
    EXPECT_EQ(save(make_request("run", R"({"step":1})")).value().version, 1);
    EXPECT_EQ(save(make_request("run", R"({"step":2})")).value().version, 2);
    EXPECT_EQ(told, 2);
    EXPECT_THAT(logged, ElementsAre(HasSubstr("save_observer_failed the observer of saves failed: no room")));
}

// The observer is told first: whoever has the receipt finds the event.
TEST_P(SaveObserverTest, IsToldBeforeTheCallerIs) {
    for (int step = 1; step <= 50; ++step) {
        const Receipt receipt = save(make_request("run", step_text(step))).value();
        ASSERT_EQ(watch.events().size(), static_cast<std::size_t>(step));
        EXPECT_EQ(watch.last().receipt.value().snapshot_id, receipt.snapshot_id);
    }
}

TEST_P(SaveObserverTest, CountsWhateverHappensWhileThreadsSaveAtRandom) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    std::map<std::string, std::uint64_t> receipts;
    std::mutex mutex;
    std::atomic<std::uint64_t> saves = 0;
    service();  // made before the threads share it
    {
        std::vector<std::jthread> threads;
        for (std::uint64_t thread = 0; thread < 4; ++thread) {
            threads.emplace_back([&, thread] {
                std::mt19937_64 random(first_seed + thread);
                for (int i = 0; i < 100; ++i) {
                    if (random() % 10 == 0) store->inject({.code = ErrorCode::kUnavailable});
                    StatePersistenceRequest request = make_request(fmt::format("run-{}", random() % 3),
                                                                   step_text(static_cast<std::int64_t>(random() % 2)));
                    if (random() % 5 == 0) request.user_id = "stranger";
                    if (random() % 3 == 0 && is_optimized()) request.durability = Durability::kAsync;
                    const Result<Receipt> receipt = save(request);
                    ++saves;
                    const std::lock_guard lock(mutex);
                    ++receipts[std::string(to_string(receipt ? receipt->outcome : Outcome::kFailed))];
                }
            });
        }
    }
    [[maybe_unused]] const Status closed = service().close();
    std::map<std::string, std::uint64_t> told;
    std::uint64_t lost = 0;
    for (const SaveEvent& event : watch.events()) {
        event.is_lost ? ++lost : ++told[std::string(to_string(event.outcome()))];
    }
    EXPECT_EQ(told, receipts);
    if (auto* optimized = dynamic_cast<OptimizedStatePersistence*>(&service())) {
        EXPECT_EQ(lost, optimized->get_cache_stats().lost);
    }
}

// ---- what only the optimised service does ----

class QueuedSaves : public testing::Test {
protected:
    QueuedSaves() { bench.options.observer = watch.observer(); }

    Watch watch;
    QueueBench bench;
};

TEST_F(QueuedSaves, AreToldWhenTheyAreAcknowledgedAndNotAgainWhenTheyAreOnDisk) {
    EXPECT_EQ(bench.service().save_agent_state(make_step("run", 1, Durability::kExit)).value().outcome,
              Outcome::kQueued);
    EXPECT_THAT(watch.summary(), ElementsAre("run queued"));
    EXPECT_EQ(watch.last().receipt.value().durability, Durability::kExit);
    ASSERT_TRUE(bench.service().flush_all().has_value());
    EXPECT_THAT(watch.summary(), ElementsAre("run queued"));
}

TEST_F(QueuedSaves, AreToldAgainIfTheyAreLost) {
    bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1, Durability::kAsync)).has_value());
    EXPECT_FALSE(bench.service().flush("run").has_value());
    ASSERT_TRUE(eventually([&] { return watch.events().size() == 2; }));
    EXPECT_THAT(watch.summary(), ElementsAre("run queued", "run failed storage_full lost"));
    EXPECT_EQ(watch.last().thread_id + watch.last().user_id, "threaduser");
}

TEST_F(QueuedSaves, EqualOnesUnderWayAreToldOneByOne) {
    bench.hold_up();
    auto first = bench.in_background(make_step("run", 1, Durability::kSync));
    ASSERT_TRUE(bench.becomes_queued(2));
    auto second = bench.in_background(make_step("run", 1, Durability::kSync));
    auto told = std::make_shared<std::promise<void>>();
    bench.service().save_async(make_step("run", 1, Durability::kSync),
                               [told](const Result<Receipt>&) { told->set_value(); });
    bench.let_go();
    EXPECT_TRUE(first.get().has_value());
    EXPECT_TRUE(second.get().has_value());
    told->get_future().wait();
    EXPECT_THAT(watch.summary(),
                UnorderedElementsAre("blocker persisted", "run persisted", "run deduplicated", "run deduplicated"));
}

TEST_F(QueuedSaves, ThatAreCalledOffBeforeTheyBeginHaveFailed) {
    bench.options.executor = std::make_shared<CallExecutor>(1);
    std::promise<void> may_go_on;
    bench.options.executor->submit("run", [go_on = may_go_on.get_future().share()] { go_on.wait(); });
    std::promise<ErrorCode> ended;
    const auto submitted = bench.service().save_agent_state_async(
        make_step("run", 1), [&](Result<Receipt> receipt) { ended.set_value(receipt.error().code); });
    EXPECT_TRUE(submitted.cancel());
    EXPECT_EQ(ended.get_future().get(), ErrorCode::kCancelled);
    EXPECT_THAT(watch.summary(), ElementsAre("run failed cancelled"));
    may_go_on.set_value();
}

// The saves of a batch end on one thread: an observer that waits for one of them must not find it locked up.
TEST_F(QueuedSaves, AreToldWhileNoLockIsHeld) {
    std::atomic<std::size_t> told = 0;
    bench.options.observer = [&](const SaveEvent& event) {
        if (event.run_id == "blocker") return;
        EXPECT_TRUE(
            std::async(std::launch::async, [&] {
                const CacheStats stats = bench.service().get_cache_stats();
                return stats.cache_max_size > 0 &&
                       bench.service().save_agent_state(make_step("blocker", 100, Durability::kSync)).has_value();
            }).get());
        ++told;
    };
    bench.hold_up();
    std::vector<std::future<Result<Receipt>>> saves;
    for (int run = 0; run < 8; ++run) {
        saves.push_back(bench.service().save_async(make_step(fmt::format("run-{}", run), 1)));
    }
    bench.let_go();
    for (auto& save : saves) EXPECT_TRUE(save.get().has_value());
    EXPECT_EQ(told, 8U);
}

TEST_F(QueuedSaves, OfTheFallbackServiceItselfAreNotTold) {
    EXPECT_TRUE(bench.service().fallback_service().save_agent_state(make_step("run", 1)).has_value());
    EXPECT_THAT(watch.summary(), ElementsAre());
}

}  // namespace
}  // namespace cairn::test
