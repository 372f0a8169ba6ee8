// Goal: the calls with a completion keep the promises of `cairn/persistence.h` and `cairn/async_store.h`. Every
// completion is called once, however the call ends. The calls of a run keep their order, and no run waits for another.
// Method: both services over the memory store and SQLite, with an executor whose threads the test can hold up. No time
// is asserted: to show that one call does not wait for another, the other one never ends. Random cases print the seed
// that replays them (CAIRN_TEST_SEED).

#include "store/memory/memory_store.h"
#include "support/child_process.h"
#include "support/make.h"
#include "support/seed.h"
#include "support/temp_dir.h"
#include "support/thread_faults.h"

#include <cairn/async_store.h>
#include <cairn/faulty_store.h>
#include <cairn/persistence.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kVeryLong{60};

StatePersistenceRequest step_of(std::string run_id, int step) {
    return make_request(std::move(run_id), fmt::format(R"({{"step":{}}})", step));
}

/// The result that a completion was called with. A test can wait for it. Counts the calls of the completion.
template <class T>
class Told {
public:
    Completion<T> completion() {
        return [shared = shared_](Result<T> result) {
            if (++shared->times == 1) shared->promise.set_value(std::move(result));
        };
    }
    bool is_told() const { return shared_->times > 0; }
    int times() const { return shared_->times; }
    Result<T> get() {
        if (future_.wait_for(kVeryLong) != std::future_status::ready) {
            return fail(ErrorCode::kInternal, "the completion was never told");
        }
        return future_.get();
    }
    ErrorCode code() {
        const Result<T> result = get();
        EXPECT_FALSE(result) << "it succeeded";
        return result ? ErrorCode::kInternal : result.error().code;
    }

private:
    struct Shared {
        std::promise<Result<T>> promise;
        std::atomic<int> times = 0;
    };
    std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
    std::future<Result<T>> future_ = shared_->promise.get_future();
};

/// Holds up the calls of a key until it is released.
class Blocker {
public:
    Blocker(CallExecutor& executor, const std::string& key) {
        executor.submit(key, [shared = shared_] {
            shared->begun.count_down();
            shared->may_end.wait();
        });
        shared_->begun.wait();
    }
    ~Blocker() { let_go(); }
    Blocker(const Blocker&) = delete;
    Blocker& operator=(const Blocker&) = delete;

    void let_go() {
        if (!std::exchange(has_let_go_, true)) shared_->may_end.count_down();
    }

private:
    struct Shared {
        std::latch begun{1};
        std::latch may_end{1};
    };
    std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
    bool has_let_go_ = false;
};

struct Kind {
    bool is_optimized;
    bool is_sqlite;
};

class AsyncPersistence : public testing::TestWithParam<Kind> {
protected:
    AsyncPersistence() {
        inner = GetParam().is_sqlite ? open_store(folder.sqlite_url()).value() : make_memory_store();
        store = std::make_shared<FaultyStore>(inner);
        options.runtime = make_runtime();
        options.timeout = std::chrono::minutes(10);
        options.executor = executor;
    }

    StatePersistence& service() {
        if (!service_) service_ = make_service();
        return *service_;
    }
    std::shared_ptr<StatePersistence> make_service() {
        StatePersistence* const made =
            GetParam().is_optimized ? static_cast<StatePersistence*>(new OptimizedStatePersistence(store, options))
                                    : new StatePersistenceService(store, options);
        return {made, &StatePersistence::let_go};
    }
    void destroy_service() { service_.reset(); }

    Told<Receipt> save(const StatePersistenceRequest& request) {
        Told<Receipt> told;
        service().save_agent_state_async(request, told.completion());
        return told;
    }
    std::int64_t version_of(const std::string& run_id) {
        const auto head = inner->head(run_id, soon()).value();
        return head ? head->version : 0;
    }

    bool every_service_is_gone() {
        const Deadline give_up = soon();
        while (store.use_count() > 1) {
            if (std::chrono::steady_clock::now() > give_up) return false;
            std::this_thread::yield();
        }
        return true;
    }

    TempDir folder;
    std::shared_ptr<CallExecutor> executor = std::make_shared<CallExecutor>();
    std::shared_ptr<Store> inner;
    std::shared_ptr<FaultyStore> store;
    OptimizedOptions options;

private:
    std::shared_ptr<StatePersistence> service_;
};

class AsyncOptimised : public AsyncPersistence {};

std::string name_of(const testing::TestParamInfo<Kind>& kind) {
    return fmt::format("{}On{}", kind.param.is_optimized ? "Optimised" : "Standard",
                       kind.param.is_sqlite ? "SQLite" : "Memory");
}

INSTANTIATE_TEST_SUITE_P(Services, AsyncPersistence,
                         testing::Values(Kind{false, false}, Kind{true, false}, Kind{false, true}, Kind{true, true}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Services, AsyncOptimised, testing::Values(Kind{true, false}, Kind{true, true}), name_of);

// ---- order ----

TEST_P(AsyncPersistence, SavesOfARunTakeEffectInTheOrderOfTheCalls) {
    constexpr int kRuns = 20;
    constexpr int kSteps = 15;
    std::vector<Told<Receipt>> told;
    for (int step = 1; step <= kSteps; ++step) {
        for (int run = 0; run < kRuns; ++run) told.push_back(save(step_of(fmt::format("run {}", run), step)));
    }
    for (std::size_t i = 0; i < told.size(); ++i) {
        const Result<Receipt> receipt = told[i].get();
        ASSERT_TRUE(receipt) << receipt.error().to_string();
        EXPECT_EQ(receipt->version, static_cast<std::int64_t>(i / kRuns) + 1);
    }
    EXPECT_EQ(service().load_agent_state({.run_id = "run 7"}).value().state.text(), R"({"step":15})");
}

TEST_P(AsyncPersistence, EveryKindOfCallOfARunSeesTheOnesBeforeIt) {
    std::optional<Blocker> blocker(std::in_place, *executor, "run");
    Told<Receipt> first = save(step_of("run", 1));
    Told<LoadedState> loaded;
    service().load_agent_state_async({.run_id = "run"}, loaded.completion());
    Told<Receipt> second = save(step_of("run", 2));
    Told<RecoveryResult> recovered;
    service().recover_agent_state_async({.run_id = "run", .recovery_type = RecoveryType::kRestart},
                                        recovered.completion());
    Told<LoadedState> last;
    service().load_agent_state_async({.run_id = "run"}, last.completion());
    Told<void> flushed;
    service().flush_async("run", std::nullopt, flushed.completion());
    EXPECT_FALSE(first.is_told() || loaded.is_told() || last.is_told() || flushed.is_told());
    blocker.reset();
    EXPECT_EQ(loaded.get().value().info.version, 1);
    EXPECT_EQ(recovered.get().value().version, 3);
    EXPECT_EQ(last.get().value().state.text(), R"({"step":1})");
    EXPECT_TRUE(flushed.get());
    EXPECT_EQ(first.get().value().version, 1);
    EXPECT_EQ(second.get().value().version, 2);
    Told<ThreadContext> context;
    service().get_thread_context_async("thread", "user", std::nullopt, context.completion());
    EXPECT_EQ(context.get().value().snapshots, 3U);
    Told<void> all;
    service().flush_all_async(std::nullopt, all.completion());
    EXPECT_TRUE(all.get());
}

TEST_P(AsyncPersistence, ACallThatWaitsHoldsUpItsOwnRunOnly) {
    for (int run = 0; run < 16; ++run) ASSERT_TRUE(service().save_agent_state(step_of(fmt::format("run {}", run), 1)));
    std::latch may_end(1);
    store->before_commit([&](std::span<const RunBatch>) { may_end.wait(); });
    // The optimised service holds the first save back, so the flush commits it; the standard one saves at once.
    std::vector<Told<Receipt>> saved;
    std::vector<Told<void>> flushed(12);
    for (std::size_t i = 0; i < flushed.size(); ++i) {
        StatePersistenceRequest held = step_of(fmt::format("held {}", i), 1);
        held.durability = Durability::kExit;
        saved.push_back(save(held));
        service().flush_async(held.run_id, std::nullopt, flushed[i].completion());
    }
    for (int run = 0; run < 16; ++run) {
        Told<LoadedState> loaded;
        service().load_agent_state_async({.run_id = fmt::format("run {}", run)}, loaded.completion());
        EXPECT_EQ(loaded.get().value().info.version, 1) << "while every flush waits";
    }
    for (Told<void>& each : flushed) EXPECT_FALSE(each.is_told());
    may_end.count_down();
    for (Told<void>& each : flushed) EXPECT_TRUE(each.get());
    for (Told<Receipt>& each : saved) EXPECT_TRUE(each.get());
    store->before_commit(nullptr);
}

TEST_P(AsyncOptimised, SavesOfManyRunsShareCommits) {
    constexpr int kRuns = 100;
    store->set_commits_at_once(1);
    std::latch may_end(1);
    store->before_commit([&](std::span<const RunBatch>) { may_end.wait(); });
    std::vector<Told<Receipt>> told;
    for (int run = 0; run < kRuns; ++run) told.push_back(save(step_of(fmt::format("run {}", run), 1)));
    auto& optimized = dynamic_cast<OptimizedStatePersistence&>(service());
    while (optimized.get_cache_stats().queue_size < kRuns) std::this_thread::yield();
    may_end.count_down();
    for (Told<Receipt>& each : told) EXPECT_TRUE(each.get());
    EXPECT_LE(store->calls(StoreCall::kCommit), 3U) << "no call keeps a thread waiting for its commit";
    store->before_commit(nullptr);
}

// ---- cancellation ----

TEST_P(AsyncPersistence, ACallThatIsCancelledBeforeItBeganIsNotMade) {
    std::optional<Blocker> blocker(std::in_place, *executor, "run");
    Told<Receipt> told;
    const auto call = service().save_agent_state_async(step_of("run", 1), told.completion());
    Told<Receipt> behind = save(step_of("run", 2));
    EXPECT_TRUE(call.cancel());
    const Result<Receipt> cancelled = told.get();  // its run is still held up
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().code, ErrorCode::kCancelled);
    EXPECT_EQ(cancelled.error().message, "the call was cancelled before it began");
    EXPECT_FALSE(call.cancel()) << "it has ended";
    EXPECT_FALSE(behind.is_told());
    blocker.reset();
    EXPECT_EQ(behind.get().value().version, 1) << "the cancelled one was not made";
    EXPECT_EQ(told.times(), 1);
}

TEST_P(AsyncPersistence, ACallThatHasBegunIsNotCancelled) {
    std::latch has_begun(1);
    std::latch may_end(1);
    std::atomic<bool> is_first = true;
    store->before_commit([&](std::span<const RunBatch>) {
        if (!is_first.exchange(false)) return;
        has_begun.count_down();
        may_end.wait();
    });
    Told<Receipt> told;
    const auto call = service().save_agent_state_async(step_of("run", 1), told.completion());
    has_begun.wait();
    EXPECT_FALSE(call.cancel());
    EXPECT_FALSE(told.is_told());
    may_end.count_down();
    EXPECT_EQ(told.get().value().outcome, Outcome::kPersisted);
    EXPECT_FALSE(StatePersistence::Submitted().cancel()) << "of no call";
    store->before_commit(nullptr);
}

TEST_P(AsyncPersistence, CallsThatAreCancelledAtAnyTimeAreToldOnceAndAppliedAsTheySay) {
    const std::uint64_t seed = test::seed();
    SCOPED_TRACE(replay_line(seed));
    std::mt19937_64 random(seed);
    constexpr int kCalls = 400;
    std::vector<Told<Receipt>> told(kCalls);
    std::vector<StatePersistence::Submitted> calls;
    std::vector<bool> is_cancelled(kCalls, false);
    for (int i = 0; i < kCalls; ++i) {
        calls.push_back(service().save_agent_state_async(step_of(fmt::format("run {}", random() % 5), i),
                                                         told[static_cast<std::size_t>(i)].completion()));
        const std::size_t other = random() % calls.size();
        if (random() % 2 == 0 && calls[other].cancel()) is_cancelled[other] = true;
    }
    std::int64_t applied = 0;
    for (std::size_t i = 0; i < kCalls; ++i) {
        const Result<Receipt> receipt = told[i].get();
        EXPECT_EQ(receipt.has_value(), !is_cancelled[i]);
        if (receipt) {
            ++applied;
        } else {
            EXPECT_EQ(receipt.error().code, ErrorCode::kCancelled) << receipt.error().to_string();
        }
    }
    ASSERT_TRUE(service().close());
    std::int64_t stored = 0;
    for (int run = 0; run < 5; ++run) stored += version_of(fmt::format("run {}", run));
    EXPECT_EQ(stored, applied);
    for (const Told<Receipt>& each : told) EXPECT_EQ(each.times(), 1);
}

// ---- deadlines ----

TEST_P(AsyncPersistence, ACallThatHasNotBegunByItsDeadlineEndsThenAndIsNotMade) {
    Blocker blocker(*executor, "run");  // longer than any caller waits
    StatePersistenceRequest request = step_of("run", 1);
    request.timeout = milliseconds(30);
    Told<Receipt> saved = save(request);
    Told<LoadedState> loaded;
    service().load_agent_state_async({.run_id = "run", .timeout = milliseconds(20)}, loaded.completion());
    Told<RecoveryResult> recovered;
    service().recover_agent_state_async({.run_id = "run", .timeout = milliseconds(10)}, recovered.completion());
    Told<void> flushed;
    service().flush_async("run", milliseconds(40), flushed.completion());
    const Result<Receipt> receipt = saved.get();
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(receipt.error().message, "an earlier call of \"run\" was still under way at the deadline");
    EXPECT_EQ(loaded.code(), ErrorCode::kUnavailable);
    EXPECT_EQ(recovered.code(), ErrorCode::kUnavailable);
    EXPECT_EQ(flushed.code(), ErrorCode::kUnavailable);
    blocker.let_go();
    EXPECT_EQ(save(step_of("run", 2)).get().value().version, 1) << "none of them was made";
}

// The store is slow for an hour. The test ends only because the deadline is kept.
TEST_P(AsyncPersistence, ASaveEndsAtItsDeadlineWhileTheStoreIsSlow) {
    for (const StoreCall call : {StoreCall::kHead, StoreCall::kCommit}) {
        ASSERT_TRUE(service().save_agent_state(step_of("run", 1)));
        if (GetParam().is_optimized) dynamic_cast<OptimizedStatePersistence&>(service()).clear_cache();
        const std::int64_t version = version_of("run");
        store->delay(call, std::chrono::hours(1));
        StatePersistenceRequest request = step_of("run", 2);
        request.timeout = milliseconds(100);
        EXPECT_EQ(save(request).code(), ErrorCode::kUnavailable) << "which says that nothing was applied";
        EXPECT_EQ(version_of("run"), version);
        store->delay(call, milliseconds(0));
    }
}

// ---- closing ----

TEST_P(AsyncPersistence, CloseWaitsForTheCallsBeforeItAndRefusesThoseAfter) {
    std::optional<Blocker> blocker(std::in_place, *executor, "run");
    std::vector<Told<Receipt>> told;
    for (int step = 1; step <= 10; ++step) told.push_back(save(step_of("run", step)));
    auto closing = std::async(std::launch::async, [&] { return service().close(); });
    std::optional<Error> refused;
    while (!refused) {  // until closing has begun: a save before that may also succeed at once
        Told<Receipt> late = save(step_of("other", 1));
        if (!late.is_told()) continue;
        const Result<Receipt> receipt = late.get();
        if (!receipt) refused = receipt.error();
    }
    EXPECT_EQ(refused->code, ErrorCode::kClosed);
    EXPECT_EQ(closing.wait_for(milliseconds(0)), std::future_status::timeout);
    blocker.reset();
    EXPECT_TRUE(closing.get());
    for (Told<Receipt>& each : told) {
        EXPECT_EQ(each.times(), 1) << "by the time that close returns";
        EXPECT_TRUE(each.get());
    }
    EXPECT_EQ(version_of("run"), 10);
    Told<LoadedState> loaded;
    service().load_agent_state_async({.run_id = "run"}, loaded.completion());
    EXPECT_EQ(loaded.code(), ErrorCode::kClosed);
    Told<void> flushed;
    service().flush_async("run", std::nullopt, flushed.completion());
    EXPECT_EQ(flushed.code(), ErrorCode::kClosed);
    Told<void> again;
    service().close_async(again.completion());
    EXPECT_TRUE(again.get()) << "a second close is harmless";
}

TEST_P(AsyncPersistence, TheDestructorTellsEveryoneBeforeItReturns) {
    std::atomic<int> told = 0;
    for (int step = 1; step <= 300; ++step) {
        service().save_agent_state_async(step_of(fmt::format("run {}", step % 7), step),
                                         [&](const Result<Receipt>& receipt) { told += receipt ? 1 : 0; });
    }
    StatePersistence* const made = new StatePersistenceService(store, options);
    made->flush_all_async(std::nullopt, [&](const Status& flushed) { told += flushed ? 1 : 0; });
    delete made;
    EXPECT_TRUE(service().close());
    EXPECT_EQ(told, 301);
}

TEST_P(AsyncPersistence, ClosingByACompletionBeginsWhenTheCallsBeforeHaveEnded) {
    std::optional<Blocker> blocker(std::in_place, *executor, "run");
    Told<Receipt> before = save(step_of("run", 1));
    StatePersistenceRequest held = step_of("held", 1);
    held.durability = Durability::kExit;
    Told<Receipt> queued = save(held);
    ASSERT_TRUE(queued.get());
    Told<void> closed;
    service().close_async(closed.completion());
    EXPECT_EQ(save(step_of("run", 2)).code(), ErrorCode::kClosed) << "from then on";
    EXPECT_FALSE(closed.is_told());
    blocker.reset();
    EXPECT_TRUE(closed.get());
    EXPECT_TRUE(before.is_told());
    EXPECT_EQ(version_of("run"), 1);
    EXPECT_EQ(version_of("held"), 1) << "what was held back is committed";
    destroy_service();
}

TEST_P(AsyncPersistence, OneThreadIsEnoughToCloseBehindOtherCalls) {
    options.executor = std::make_shared<CallExecutor>(1);
    std::optional<Blocker> blocker(std::in_place, *options.executor, "run");
    Told<Receipt> before = save(step_of("run", 1));
    Told<void> closed;
    service().close_async(closed.completion());
    blocker.reset();
    EXPECT_TRUE(closed.get());
    EXPECT_TRUE(before.get());
}

// ---- completions and the life of a service ----

TEST_P(AsyncPersistence, ACompletionMayCallTheServiceInEitherWay) {
    Told<Receipt> last;
    std::function<void(int)> go_on = [&](int step) {
        service().save_agent_state_async(step_of("run", step), [&, step](const Result<Receipt>& receipt) {
            ASSERT_TRUE(receipt) << receipt.error().to_string();
            EXPECT_EQ(service().load_agent_state({.run_id = "run"}).value().info.version, step);
            EXPECT_TRUE(service().save_agent_state(step_of("beside", step)));
            if (step == 40) return last.completion()(receipt);
            go_on(step + 1);
        });
    };
    go_on(1);
    EXPECT_EQ(last.get().value().version, 40);
    ASSERT_TRUE(service().close());
    EXPECT_EQ(version_of("beside"), 40);
}

TEST_P(AsyncPersistence, AnExceptionOfACompletionReachesNobody) {
    const auto throwing = [](const auto&) { throw std::runtime_error("of the test"); };
    service().save_agent_state_async(step_of("run", 1), throwing);
    service().load_agent_state_async({.run_id = "none"}, throwing);
    service().flush_all_async(std::nullopt, throwing);
    EXPECT_EQ(save(step_of("run", 2)).get().value().version, 2);
    service().close_async(throwing);
    EXPECT_TRUE(service().close());
    service().save_agent_state_async(step_of("run", 3), throwing);
}

TEST_P(AsyncPersistence, TheLastReferenceMayBeDroppedByACompletion) {
    for (int round = 0; round < 30; ++round) {
        const std::string run = fmt::format("run {}", round);
        std::shared_ptr<StatePersistence> shared = make_service();
        StatePersistence& to = *shared;
        Told<Receipt> told;
        to.save_agent_state_async(step_of(run, 1), [own = std::move(shared), done = told.completion()](
                                                       const Result<Receipt>& receipt) { done(receipt); });
        EXPECT_TRUE(told.get());
        EXPECT_EQ(version_of(run), 1);
    }
    Told<void> closed;
    std::shared_ptr<StatePersistence> shared = make_service();
    StatePersistence& to = *shared;
    to.close_async([own = std::move(shared), done = closed.completion()](const Status& status) { done(status); });
    EXPECT_TRUE(closed.get());
    EXPECT_TRUE(every_service_is_gone());
}

TEST_P(AsyncPersistence, LettingAServiceGoDoesNotWaitForItsCalls) {
    std::latch may_end(1);
    store->before_commit([&](std::span<const RunBatch>) { may_end.wait(); });
    std::shared_ptr<StatePersistence> shared = make_service();
    Told<Receipt> told;
    shared->save_agent_state_async(step_of("run", 1), told.completion());
    shared.reset();
    EXPECT_FALSE(told.is_told());
    may_end.count_down();
    EXPECT_TRUE(told.get());
    EXPECT_EQ(version_of("run"), 1);
    EXPECT_TRUE(every_service_is_gone());
}

TEST_P(AsyncPersistence, AForkedChildIsToldThatTheServiceIsClosed) {
    ASSERT_TRUE(save(step_of("run", 1)).get());
    ChildProcess child([&](const Channel&) {
        ::alarm(60);  // a child that hangs is killed
        Told<Receipt> saved = save(step_of("run", 2));
        Told<LoadedState> loaded;
        service().load_agent_state_async({.run_id = "run"}, loaded.completion());
        Told<void> closed;
        service().close_async(closed.completion());
        const bool is_refused = saved.is_told() && loaded.is_told() && closed.is_told() &&
                                saved.code() == ErrorCode::kClosed && loaded.code() == ErrorCode::kClosed &&
                                closed.code() == ErrorCode::kClosed;
        destroy_service();
        return is_refused ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), 0);
    EXPECT_EQ(save(step_of("run", 2)).get().value().version, 2) << "the parent goes on";
}

TEST_P(AsyncPersistence, WithoutAThreadLeftEveryCallIsMadeAllTheSame) {
    if (!CAIRN_TEST_HAS_OWN_THREADS) GTEST_SKIP() << "a sanitizer makes the threads";
    machine_has_threads = false;
    int told = 0;
    for (int step = 1; step <= 5; ++step) {
        service().save_agent_state_async(step_of("run", step), [&](const Result<Receipt>& receipt) {
            EXPECT_TRUE(receipt);
            ++told;
        });
    }
    service().load_agent_state_async({.run_id = "run"}, [&](const Result<LoadedState>& loaded) {
        EXPECT_EQ(loaded.value().info.version, 5);
        ++told;
    });
    service().flush_all_async(std::nullopt, [&](const Status& flushed) {
        EXPECT_TRUE(flushed);
        ++told;
    });
    AsyncStore(store, executor).stats(Deadline::max(), [&](const Result<StoreStats>& stats) {
        EXPECT_EQ(stats.value().snapshots, 5U);
        ++told;
    });
    service().close_async([&](const Status& closed) {
        EXPECT_TRUE(closed);
        ++told;
    });
    EXPECT_EQ(told, 9) << "on this thread";
    machine_has_threads = true;
}

TEST_P(AsyncPersistence, WithoutAThreadLeftTheLastReferenceMayBeDroppedByACompletion) {
    if (!CAIRN_TEST_HAS_OWN_THREADS) GTEST_SKIP() << "a sanitizer makes the threads";
    machine_has_threads = false;
    bool is_told = false;
    std::shared_ptr<StatePersistence> shared = make_service();
    StatePersistence& to = *shared;
    to.save_agent_state_async(step_of("run", 1), [&, own = std::move(shared)](const Result<Receipt>& receipt) {
        EXPECT_TRUE(receipt);
        is_told = true;
    });
    EXPECT_TRUE(is_told);
    EXPECT_EQ(store.use_count(), 1) << "it is gone";
    machine_has_threads = true;
}

// ---- a service of one's own ----

/// A service that saves nothing, and whose answers tell what it was asked.
class OwnService final : public StatePersistence {
public:
    ~OwnService() override { end_async_calls(); }

    Result<Receipt> save_agent_state(const StatePersistenceRequest& request) override {
        return Receipt{.snapshot_id = request.run_id, .version = request.timeout.value().count()};
    }
    Result<LoadedState> load_agent_state(const LoadRequest&) override { throw std::runtime_error("of the test"); }
    Result<RecoveryResult> recover_agent_state(const StateRecoveryRequest& request) override {
        return RecoveryResult{.state = {}, .version = request.timeout.value().count()};
    }
    Result<ThreadContext> get_thread_context(std::string_view thread_id, std::optional<std::string_view>,
                                             std::optional<milliseconds> timeout) override {
        return ThreadContext{.thread_id = std::string(thread_id), .snapshots = timeout ? 1U : 0U};
    }
    Status flush(std::string_view, std::optional<milliseconds>) override { return {}; }
    Status flush_all(std::optional<milliseconds>) override { return {}; }
    Status close() override { return {}; }
};

TEST(AsyncCalls, AUsersOwnServiceInheritsThemAndIsToldTheTimeThatIsLeft) {
    OwnService service;
    StatePersistenceRequest request = step_of("run", 1);
    request.timeout = std::chrono::hours(1);
    Told<Receipt> saved;
    service.save_agent_state_async(request, saved.completion());
    const Receipt receipt = saved.get().value();
    EXPECT_EQ(receipt.snapshot_id, "run");
    EXPECT_GT(receipt.version, 0);
    EXPECT_LE(receipt.version, milliseconds(std::chrono::hours(1)).count());
    Told<RecoveryResult> recovered;
    service.recover_agent_state_async({.run_id = "run"}, recovered.completion());
    EXPECT_LE(recovered.get().value().version, 30'000) << "the default of the interface";
    Told<ThreadContext> context;
    service.get_thread_context_async("thread", std::nullopt, std::nullopt, context.completion());
    EXPECT_EQ(context.get().value().snapshots, 1U);
    Told<LoadedState> loaded;
    service.load_agent_state_async({.run_id = "run"}, loaded.completion());
    EXPECT_EQ(loaded.code(), ErrorCode::kInternal) << "what it throws is told";
}

// ---- the store ----

TEST_P(AsyncPersistence, CallsOfAStoreAreAnsweredAsTheBlockingOnesAre) {
    for (int step = 1; step <= 5; ++step) ASSERT_TRUE(service().save_agent_state(step_of("run", step)));
    ASSERT_TRUE(service().recover_agent_state({.run_id = "run", .recovery_type = RecoveryType::kRestart}));
    const AsyncStore async(store, executor);
    Told<StoreStats> stats;
    async.stats(Deadline::max(), stats.completion());
    EXPECT_EQ(stats.get().value().snapshots, 6U);
    for (const bool is_deep : {false, true}) {
        Told<CheckReport> report;
        if (is_deep) {
            async.check_deep(Deadline::max(), {}, report.completion());
        } else {
            async.check(Deadline::max(), report.completion());
        }
        const CheckReport checked = report.get().value();
        EXPECT_EQ(checked.snapshots, 6U);
        EXPECT_TRUE(checked.findings.empty());
    }
    Told<std::vector<RecoveryRecord>> log;
    async.recovery_log("run", 10, soon(), log.completion());
    EXPECT_EQ(log.get().value().size(), 1U);
    Told<std::vector<SnapshotInfo>> history;
    async.history({.run_id = "run", .limit = 2}, soon(), history.completion());
    EXPECT_EQ(history.get().value().front().version, 6);
    Told<Page<RunInfo>> runs;
    async.runs({}, soon(), runs.completion());
    EXPECT_EQ(runs.get().value().items.front().run_id, "run");
    Told<Page<ThreadInfo>> threads;
    async.threads({}, soon(), threads.completion());
    EXPECT_EQ(threads.get().value().items.front().thread_id, "thread");
    Told<RetentionReport> pruned;
    async.prune({.keep_last = 2}, {.runtime = make_runtime()}, pruned.completion());
    EXPECT_EQ(pruned.get().value().snapshots_deleted, 4U);
    Told<RetentionReport> nothing;
    async.delete_runs({.run_id = "none"}, {.runtime = make_runtime()}, nothing.completion());
    EXPECT_EQ(nothing.code(), ErrorCode::kNotFound);
    Told<RetentionReport> deleted;
    async.delete_runs({.run_id = "run"}, {.runtime = make_runtime()}, deleted.completion());
    EXPECT_EQ(deleted.get().value().runs_deleted, 1U);
    Told<void> closed;
    async.close(closed.completion());
    EXPECT_TRUE(closed.get());
    Told<StoreStats> late;
    async.stats(Deadline::max(), late.completion());
    EXPECT_EQ(late.code(), ErrorCode::kClosed);
}

TEST_P(AsyncPersistence, ALongCallOfAStoreHoldsNobodyUpAndCanBeStopped) {
    for (int step = 1; step <= 5; ++step) ASSERT_TRUE(service().save_agent_state(step_of("run", step)));
    std::latch may_end(1);
    store->before_commit([&](std::span<const RunBatch>) { may_end.wait(); });
    const AsyncStore async(store, executor);
    Told<RetentionReport> pruned;
    std::atomic<bool> is_cancelled = false;
    RetentionOptions retention{.snapshots_per_commit = 1, .runtime = make_runtime()};
    retention.is_cancelled = [&] { return is_cancelled.load(); };
    async.prune({.keep_last = 1}, retention, pruned.completion());
    Told<CheckReport> checked;
    async.check(Deadline::max(), checked.completion());
    EXPECT_TRUE(checked.get());
    Told<LoadedState> loaded;
    service().load_agent_state_async({.run_id = "run"}, loaded.completion());
    EXPECT_TRUE(loaded.get());
    EXPECT_FALSE(pruned.is_told());
    is_cancelled = true;
    may_end.count_down();
    EXPECT_TRUE(pruned.get().value().was_cancelled);
    store->before_commit(nullptr);
}

}  // namespace
}  // namespace cairn::test
