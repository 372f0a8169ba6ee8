// Goal: memory that runs out once a save is in the store does not make a failed save of it. Every caller that relies on
// the save gets its receipt, and an outcome that is unknown is said to be so. A service without memory still closes.
// Method: a store lets each allocation of the committing thread fail, from the end of a commit until the test ends
// that.

#include "store/memory/memory_store.h"
#include "support/allocation_faults.h"
#include "support/group_commit.h"

#include <cairn/persistence.h>

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

// The allocations of this thread count from the first commit that is followed by none.
thread_local std::optional<AllocationFaults::Counting> counting;

void take_memory() {
    if (!counting) counting.emplace();
    AllocationFaults::arm({.for_good = true});
}

void give_memory() {
    AllocationFaults::disarm();
    counting.reset();
}

class StoreThatTakesMemory final : public ForwardingStore {
public:
    using ForwardingStore::ForwardingStore;

    std::size_t commits_at_once() const noexcept override { return 1; }
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        gate.pass(batches);
        Result<std::vector<Status>> answers = ForwardingStore::commit(batches, deadline);
        if (!answers || !answers->front() || batches.front().run_id == "blocker") return answers;
        if (hides_outcome) answers = fail(ErrorCode::kOutcomeUnknown, "lost");
        take_memory();
        return answers;
    }

    Gate gate;
    std::atomic<bool> hides_outcome = false;
};

class NoMemoryAfterACommit : public testing::Test {
protected:
    void SetUp() override {
        if (!AllocationFaults::kNewCanFail) GTEST_SKIP() << "ThreadSanitizer has an operator new of its own";
    }
    void TearDown() override { give_memory(); }

    static Result<Receipt> save(StatePersistence& service, const StatePersistenceRequest& request) {
        Result<Receipt> receipt = service.save_agent_state(request);
        give_memory();
        return receipt;
    }
    void expect_saved(const Result<Receipt>& receipt, Outcome outcome = Outcome::kPersisted) {
        ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
        EXPECT_EQ(receipt->outcome, outcome);
        const std::optional<Snapshot> stored = inner->get("run", receipt->snapshot_id, soon()).value();
        ASSERT_TRUE(stored.has_value()) << receipt->snapshot_id;
        EXPECT_EQ(stored->info.version, receipt->version);
    }

    std::shared_ptr<Store> inner = make_memory_store();
    std::shared_ptr<StoreThatTakesMemory> store = std::make_shared<StoreThatTakesMemory>(inner);
    OptimizedStatePersistence service{store};
};

TEST_F(NoMemoryAfterACommit, ASaveHasItsReceipt) {
    expect_saved(save(service, make_step("run", 1)));
}

TEST_F(NoMemoryAfterACommit, ASaveOnAnotherWritersHeadHasItsReceipt) {
    expect_saved(save(service, make_step("run", 1)));
    ASSERT_TRUE(StatePersistenceService(inner).save_agent_state(make_step("run", 2)).has_value());
    expect_saved(save(service, make_step("run", 3)));
}

TEST_F(NoMemoryAfterACommit, ASaveOfTheStandardServiceHasItsReceipt) {
    StatePersistenceService standard(store);
    expect_saved(save(standard, make_step("run", 1)));
}

TEST_F(NoMemoryAfterACommit, AnUnknownOutcomeIsSaidToBeSo) {
    store->hides_outcome = true;
    EXPECT_EQ(code_of(save(service, make_step("run", 1))), ErrorCode::kOutcomeUnknown);
    StatePersistenceService standard(store);
    EXPECT_EQ(code_of(save(standard, make_step("other", 1))), ErrorCode::kOutcomeUnknown);
}

// Another thread commits, so that the completion has nothing to allocate with.
TEST_F(NoMemoryAfterACommit, ACompletionIsToldOfTheReceipt) {
    std::promise<Result<Receipt>> told;
    service.save_async(make_step("run", 1), [&](Result<Receipt> receipt) { told.set_value(std::move(receipt)); });
    std::future<Result<Receipt>> answer = told.get_future();
    ASSERT_EQ(answer.wait_for(std::chrono::seconds(60)), std::future_status::ready) << "it is never told";
    give_memory();
    expect_saved(answer.get());
}

TEST_F(NoMemoryAfterACommit, EachThatSharesTheSaveHasAReceipt) {
    store->gate.close();
    Answer blocker = service.save_async(make_step("blocker", 1));
    store->gate.await(1);
    std::vector<Answer> answers;
    for (int i = 0; i < 3; ++i) answers.push_back(service.save_async(make_step("run", 1)));
    answers.push_back(std::async(std::launch::async, [&] { return service.save_agent_state(make_step("run", 1)); }));
    // The last one shares the save, too, or repeats the head.
    store->gate.open();
    for (Answer& answer : answers) {
        ASSERT_EQ(answer.wait_for(std::chrono::seconds(60)), std::future_status::ready) << "it is never told";
    }
    give_memory();
    expect_saved(answers.front().get());
    for (std::size_t i = 1; i < answers.size(); ++i) expect_saved(answers[i].get(), Outcome::kDeduplicated);
    EXPECT_TRUE(blocker.get().has_value());
}

TEST_F(NoMemoryAfterACommit, AServiceCloses) {
    std::optional<OptimizedStatePersistence> closing(std::in_place, inner);
    for (int step = 1; step <= 3; ++step) {
        ASSERT_TRUE(closing->save_agent_state(make_step("run", step, kExit)).has_value());
        ASSERT_TRUE(closing->save_agent_state(make_step("started", step, kAsync)).has_value());
    }
    take_memory();
    closing.reset();
    give_memory();
}

}  // namespace
}  // namespace cairn::test
