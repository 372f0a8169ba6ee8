// Goal: the services keep a caller's deadline, whichever call of the store is slow. They lead as many commits as the
// store takes. They spend no extra call on a batch's runs that no other writer has moved.
// Method: stores that are slow or shared on demand. No time is asserted: a slow call never ends, or calls are counted.

#include "support/make.h"

#include <cairn/faulty_store.h>
#include <cairn/persistence.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

using std::chrono::milliseconds;

// Makes save number `step`. Each has a different length.
StatePersistenceRequest step_of(std::string run_id, std::size_t step) {
    return make_request(std::move(run_id), fmt::format(R"({{"step":{},"text":"{}"}})", step, std::string(step, 'x')));
}

class StoreContract : public testing::Test {
protected:
    std::unique_ptr<OptimizedStatePersistence> make_service() {
        OptimizedOptions options;
        options.runtime = make_runtime(++seed_);
        return std::make_unique<OptimizedStatePersistence>(store, options);
    }

    std::shared_ptr<Store> memory = open_store("memory:").value();
    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(memory);

private:
    std::uint64_t seed_ = 0;  // each service makes other ids
};

// ---- deadlines ----

struct SlowCall {
    StoreCall call;
    std::string name;
};

// The store is slow for an hour. The test ends only because the deadline is kept.
TEST_F(StoreContract, ASaveEndsAtItsDeadlineWhateverCallOfTheStoreIsSlow) {
    for (const auto& [call, name] : {SlowCall{StoreCall::kHead, "head"}, SlowCall{StoreCall::kGet, "get"},
                                     SlowCall{StoreCall::kLease, "lease"}, SlowCall{StoreCall::kCommit, "commit"}}) {
        const std::string run_id = "run " + name;
        const auto service = make_service();
        const Receipt first = service->save_agent_state(step_of(run_id, 1)).value();
        const Lease lease{.owner = "ann", .epoch = 1};
        ASSERT_TRUE(commit_run(*memory, {.run_id = run_id, .lease = LeaseWrite{.lease = lease}}, soon()));
        ASSERT_TRUE(
            StatePersistenceService(memory).save_agent_state(step_of(run_id, 2)));  // another writer moves the head
        service->clear_cache();
        store->delay(call, std::chrono::hours(1));
        StatePersistenceRequest request = step_of(run_id, 2);  // a skip, if the head can be read
        request.timeout = milliseconds(100);
        if (call == StoreCall::kGet) request.parent_snapshot_id = first.snapshot_id;
        if (call == StoreCall::kLease) request.lease = lease;
        if (call == StoreCall::kCommit) request.state_data = step_of(run_id, 3).state_data;
        const Result<Receipt> answer = service->save_agent_state(request);
        if (call == StoreCall::kLease) {  // only a skip asks for the lease; a commit compares it in the store
            ASSERT_TRUE(answer) << answer.error().to_string();
            EXPECT_EQ(answer->outcome, Outcome::kFallback);
            store->delay(call, milliseconds(0));
            continue;
        }
        ASSERT_FALSE(answer) << name;
        EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable) << name << ": " << answer.error().to_string();
        const Result<Receipt> whole = service->fallback_service().save_agent_state(request);
        ASSERT_FALSE(whole) << name;
        EXPECT_EQ(whole.error().code, ErrorCode::kUnavailable) << name << ": " << whole.error().to_string();
        store->delay(call, milliseconds(0));
        EXPECT_EQ(memory->head(run_id, soon()).value()->version, 2) << "nothing was applied";
    }
}

TEST_F(StoreContract, ALoadARecoveryAndAContextEndAtTheServicesTimeout) {
    ASSERT_TRUE(StatePersistenceService(memory).save_agent_state(step_of("run", 1)));
    PersistenceOptions options;
    options.runtime = make_runtime();
    options.timeout = milliseconds(50);
    StatePersistenceService service(store, options);
    store->delay(StoreCall::kGet, std::chrono::hours(1));
    EXPECT_EQ(service.load_agent_state({.run_id = "run"}).error().code, ErrorCode::kUnavailable);
    store->delay(StoreCall::kHistory, std::chrono::hours(1));
    EXPECT_EQ(service.recover_agent_state({.run_id = "run"}).error().code, ErrorCode::kUnavailable);
}

// The service cannot find out in time whether the save is there, so it reports an unknown outcome.
TEST_F(StoreContract, ALookUpThatDoesNotEndInTimeLeavesTheOutcomeUnknown) {
    const auto service = make_service();
    store->inject({.call = StoreCall::kCommit, .code = ErrorCode::kOutcomeUnknown, .after_effect = true});
    store->delay(StoreCall::kGet, std::chrono::hours(1));
    StatePersistenceRequest request = step_of("run", 1);
    request.timeout = milliseconds(50);
    EXPECT_EQ(service->save_agent_state(request).error().code, ErrorCode::kOutcomeUnknown);
}

TEST_F(StoreContract, ALookUpThatFailsIsMadeAgainWithinTheDeadline) {
    const auto service = make_service();
    store->inject({.call = StoreCall::kCommit, .code = ErrorCode::kOutcomeUnknown, .after_effect = true});
    for (std::uint64_t nth = 1; nth <= 5; ++nth) store->inject({.call = StoreCall::kGet, .nth = nth});
    const Result<Receipt> receipt = service->save_agent_state(step_of("run", 1));
    ASSERT_TRUE(receipt) << receipt.error().to_string();
    EXPECT_EQ(receipt->version, 1);
    EXPECT_EQ(store->failures(StoreCall::kGet), 5U);
    EXPECT_EQ(memory->head("run", soon()).value()->version, 1);
}

// ---- one run of a batch ----

/// Lets commits through one at a time while it is open.
class Turnstile {
public:
    void close() {
        const std::lock_guard lock(mutex_);
        is_open_ = false;
    }
    void open() {
        const std::lock_guard lock(mutex_);
        is_open_ = true;
        changed_.notify_all();
    }
    void pass() {
        std::unique_lock lock(mutex_);
        ++waiting_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return is_open_; });
        --waiting_;
    }
    bool await_one() {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(60), [&] { return waiting_ > 0; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_open_ = true;
    int waiting_ = 0;
};

std::uint64_t all_calls(const FaultyStore& store) {
    std::uint64_t calls = 0;
    for (const StoreCall call :
         {StoreCall::kCommit, StoreCall::kHead, StoreCall::kGet, StoreCall::kHistory, StoreCall::kLease}) {
        calls += store.calls(call);
    }
    return calls;
}

// Saves a batch of 64 runs, of which another writer has moved `moved`. Returns the number of calls of the store.
std::uint64_t calls_of_a_batch(int moved, std::vector<Outcome>& outcomes) {
    constexpr int kRuns = 64;
    const auto memory = open_store("memory:").value();
    const auto store = std::make_shared<FaultyStore>(memory);
    store->set_commits_at_once(1);
    Turnstile turnstile;
    store->before_commit([&](std::span<const RunBatch>) { turnstile.pass(); });
    OptimizedOptions options;
    options.runtime = make_runtime();
    OptimizedStatePersistence service(store, options);
    const auto run_of = [](int run) { return fmt::format("run {}", run); };
    for (int run = 0; run < kRuns; ++run) EXPECT_TRUE(service.save_agent_state(step_of(run_of(run), 1)));

    turnstile.close();
    auto blocker = service.save_async(step_of("blocker", 1));
    EXPECT_TRUE(turnstile.await_one());
    std::vector<std::future<Result<Receipt>>> answers;
    for (int run = 0; run < kRuns; ++run) answers.push_back(service.save_async(step_of(run_of(run), 2)));
    for (int run = 0; run < moved; ++run) {
        EXPECT_TRUE(StatePersistenceService(memory).save_agent_state(step_of(run_of(run), 7)));
    }
    const std::uint64_t before = all_calls(*store);
    turnstile.open();
    for (auto& answer : answers) {
        const Result<Receipt> receipt = answer.get();
        EXPECT_TRUE(receipt) << receipt.error().to_string();
        outcomes.push_back(receipt ? receipt->outcome : Outcome::kFailed);
    }
    EXPECT_TRUE(blocker.get());
    for (int run = 0; run < kRuns; ++run) {
        EXPECT_EQ(memory->head(run_of(run), soon()).value()->version, run < moved ? 3 : 2);
    }
    return all_calls(*store) - before;
}

TEST(StoreContractBatch, OfSixtyFourRunsTheOneThatWasMovedCostsTwoCallsMoreAndTheOthersNone) {
    std::vector<Outcome> outcomes;
    const std::uint64_t undisturbed = calls_of_a_batch(0, outcomes);
    EXPECT_EQ(undisturbed, 2U) << "that of the save that held them up, and one of all";
    const std::uint64_t disturbed = calls_of_a_batch(1, outcomes);
    EXPECT_LE(disturbed, undisturbed + 2) << "the head of that run, and its commit";
    for (const Outcome outcome : outcomes) EXPECT_EQ(outcome, Outcome::kPersisted);
}

// ---- several commits at a time ----

// The commit of run "a" does not end before that of run "b" has ended.
TEST_F(StoreContract, ASaveDoesNotWaitForAnotherRunsCommitWhereTheStoreTakesTwoAtATime) {
    for (const bool is_async : {false, true}) {
        std::promise<void> may_end;
        const auto released = may_end.get_future().share();
        std::promise<void> has_begun;
        store->set_commits_at_once(2);
        store->before_commit([&](std::span<const RunBatch> batches) {
            if (batches.front().run_id != "a") return;
            has_begun.set_value();
            released.wait();
        });
        const auto service = make_service();
        auto slow = service->save_async(step_of("a", is_async ? 1 : 2));
        has_begun.get_future().wait();
        const Result<Receipt> quick =
            is_async ? service->save_async(step_of("b", 1)).get() : service->save_agent_state(step_of("b", 2));
        EXPECT_TRUE(quick);
        EXPECT_EQ(slow.wait_for(milliseconds(0)), std::future_status::timeout) << "that one is still under way";
        may_end.set_value();
        EXPECT_TRUE(slow.get());
        store->before_commit(nullptr);
    }
}

TEST_F(StoreContract, AtMostSoManyCommitsAreUnderWayAsTheStoreTakesAndNeverTwoOfOneRun) {
    constexpr int kThreads = 8;
    constexpr int kSaves = 40;
    store->set_commits_at_once(3);
    std::mutex mutex;
    std::vector<std::string> under_way;
    std::size_t most = 0;
    int violations = 0;
    class WatchedStore final : public ForwardingStore {
    public:
        WatchedStore(std::shared_ptr<Store> next, std::function<void(std::span<const RunBatch>, bool)> watch)
            : ForwardingStore(std::move(next)), watch_(std::move(watch)) {}
        Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
            watch_(batches, true);
            auto answers = ForwardingStore::commit(batches, deadline);
            watch_(batches, false);
            return answers;
        }

    private:
        std::function<void(std::span<const RunBatch>, bool)> watch_;
    };
    std::size_t commits = 0;
    const auto watched = std::make_shared<WatchedStore>(store, [&](std::span<const RunBatch> batches, bool begins) {
        const std::lock_guard lock(mutex);
        begins ? ++commits : --commits;
        most = std::max(most, commits);
        for (const RunBatch& batch : batches) {
            if (!begins) {
                under_way.erase(std::ranges::find(under_way, batch.run_id));
                continue;
            }
            if (std::ranges::find(under_way, batch.run_id) != under_way.end()) ++violations;
            under_way.push_back(batch.run_id);
        }
    });
    OptimizedOptions options;
    options.runtime = make_runtime();
    OptimizedStatePersistence service(watched, options);
    {
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < kThreads; ++thread) {
            threads.emplace_back([&, thread] {
                for (int i = 1; i <= kSaves; ++i) {
                    StatePersistenceRequest request = step_of(fmt::format("run {}", (thread + i) % 5), 1);
                    request.state_data = State::parse(fmt::format(R"({{"by":{},"step":{}}})", thread, i)).value();
                    if (i % 3 == 0) request.durability = Durability::kAsync;
                    EXPECT_TRUE(service.save_agent_state(request));
                }
            });
        }
    }
    ASSERT_TRUE(service.flush_all());
    EXPECT_EQ(violations, 0) << "two commits of one run at a time";
    EXPECT_LE(most, 3U);
    std::int64_t saved = 0;
    for (int run = 0; run < 5; ++run) saved += memory->head(fmt::format("run {}", run), soon()).value()->version;
    EXPECT_EQ(saved, kThreads * kSaves);
}

}  // namespace
}  // namespace cairn::test
