// Goal: each queued save ends by its own deadline with a true answer. The saves behind it are stored all the same, on
// the head that there is then. There is always a thread that makes the next commit. Method: calls of the public
// service, over a memory store. Its commits are held up until saves are queued, one of which leaves the queue, comes
// too late or fails. Where it matters which thread commits, the others are kept busy.

#include "support/group_commit.h"
#include "support/seed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <set>
#include <stdexcept>

namespace cairn::test {
namespace {

TEST_F(GroupCommit, ASaveThatWasEncodedAgainstOneThatFailsIsStoredAllTheSame) {
    StatePersistenceService other(bench.inner);
    StatePersistenceRequest taken = make_large_step("run", 100);
    taken.snapshot_id = "mine";
    ASSERT_TRUE(other.save_agent_state(taken).has_value());
    ASSERT_TRUE(other.save_agent_state(make_large_step("run", 101)).has_value());
    bench.hold_up();
    StatePersistenceRequest bad = make_large_step("run", 1);
    bad.snapshot_id = "mine";
    Answer refused = bench.service().save_async(bad);
    std::vector<Answer> behind;
    for (std::int64_t step = 2; step <= 6; ++step)
        behind.push_back(bench.service().save_async(make_large_step("run", step)));
    bench.let_go();
    EXPECT_EQ(code_of(refused.get()), ErrorCode::kAlreadyExists);
    for (std::size_t i = 0; i < behind.size(); ++i) expect_saved(behind[i], static_cast<std::int64_t>(i) + 3);
    const auto found = bench.on_disk("run");
    ASSERT_EQ(found.size(), 7U);
    for (std::size_t i = 2; i < 7; ++i) {
        EXPECT_EQ(found[i], make_large_step("run", static_cast<std::int64_t>(i)).state_data.text());
    }
    EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
}

TEST_F(GroupCommit, ASaveThatWasEncodedAgainstOneThatLeftTheQueueIsStoredAllTheSame) {
    ASSERT_TRUE(bench.service().save_agent_state(make_large_step("run", 1)).has_value());
    bench.hold_up();
    StatePersistenceRequest impatient = make_large_step("run", 2);
    impatient.timeout = milliseconds(20);
    Answer left = bench.in_background(impatient);
    ASSERT_TRUE(bench.becomes_queued(2));
    std::vector<Answer> behind;
    for (std::int64_t step = 3; step <= 5; ++step)
        behind.push_back(bench.service().save_async(make_large_step("run", step)));
    wait_until_past(milliseconds(20));
    EXPECT_EQ(code_of(left.get()), ErrorCode::kUnavailable);
    bench.let_go();
    for (std::size_t i = 0; i < behind.size(); ++i) expect_saved(behind[i], static_cast<std::int64_t>(i) + 2);
    EXPECT_EQ(bench.on_disk("run").size(), 4U);
    EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
}

// ---- behind a save that ends otherwise than it was prepared ----

class BehindOther : public GroupCommit {
protected:
    // Queues steps 2 to 6 on top of step 1. Step 2 is dropped: at its deadline in the queue or, if `ends_in_commit`,
    // when its batch is made.
    void queue_behind_one_that_is_dropped(Durability durability, bool ends_in_commit) {
        ASSERT_TRUE(bench.service().save_agent_state(make_large_step("run", 1)).has_value());
        bench.hold_up();
        StatePersistenceRequest impatient = make_large_step("run", 2);
        impatient.timeout = milliseconds(20);
        Answer dropped = ends_in_commit ? bench.service().save_async(impatient) : bench.in_background(impatient);
        ASSERT_TRUE(bench.becomes_queued(2));
        for (std::int64_t step = 3; step <= 6; ++step) {
            StatePersistenceRequest request = make_large_step("run", step);
            request.durability = durability;
            behind.push_back(bench.service().save_async(request));
        }
        wait_until_past(milliseconds(20));
        if (!ends_in_commit) dropped.wait();
        bench.let_go();
        EXPECT_EQ(code_of(dropped.get()), ErrorCode::kUnavailable);
        ASSERT_TRUE(bench.service().flush("run").has_value());
    }
    // Queues step 1 of the run, which is dropped when its batch is made.
    Answer queue_one_that_is_too_late(const std::string& run, const std::string& snapshot_id = {}) {
        bench.hold_up();
        StatePersistenceRequest impatient = make_step(run, 1);
        impatient.snapshot_id = snapshot_id;
        impatient.timeout = milliseconds(1);
        return bench.service().save_async(impatient);
    }
    void expect_too_late(Answer& dropped) {
        wait_until_past(milliseconds(1));
        bench.let_go();
        EXPECT_EQ(code_of(dropped.get()), ErrorCode::kUnavailable);
    }
    void expect_no_fallback() {
        const CacheStats stats = bench.service().get_cache_stats();
        EXPECT_TRUE(stats.fallbacks_by_cause.empty());
        EXPECT_EQ(stats.failed_batches, 0U);
        EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
    }
    std::vector<SnapshotInfo> history() {
        return bench.inner->history({.run_id = "run", .order = HistoryQuery::Order::kOldestFirst}, soon()).value();
    }

    std::vector<Answer> behind;
};

// The parameter says whether the dropped save leaves the queue, or is too late when its batch is made.
class BehindDropped : public BehindOther, public testing::WithParamInterface<bool> {};

TEST_P(BehindDropped, NoneFallsBackAndEachIsWhereItsReceiptSays) {
    queue_behind_one_that_is_dropped(kSync, GetParam());
    for (std::size_t i = 0; i < behind.size(); ++i) {
        const Receipt receipt = behind[i].get().value();
        EXPECT_EQ(receipt.outcome, Outcome::kPersisted);
        EXPECT_EQ(receipt.version, static_cast<std::int64_t>(i) + 2);
    }
    expect_no_fallback();
    const std::vector<SnapshotInfo> found = history();
    ASSERT_EQ(found.size(), 5U);
    EXPECT_EQ(found[1].base_version, 0) << "what it was encoded against is not there";
    for (std::size_t i = 2; i < found.size(); ++i) EXPECT_EQ(found[i].base_version, found[i - 1].version);
    for (std::size_t i = 1; i < found.size(); ++i) EXPECT_EQ(found[i].parent_version, found[i - 1].version);
    EXPECT_TRUE(were_batched(4));
}

INSTANTIATE_TEST_SUITE_P(, BehindDropped, testing::Bool(),
                         [](const auto& one) { return one.param ? "AtTheCommit" : "FromTheQueue"; });

// Makes a save that wants a conflict if another writer saves in between.
StatePersistenceRequest make_strict_step(std::int64_t step, milliseconds timeout = std::chrono::minutes(10)) {
    StatePersistenceRequest request = make_step("run", step);
    request.on_conflict = OnConflict::kFail;
    request.timeout = timeout;
    return request;
}

// Saves of this service that were dropped are no conflict.
TEST_F(BehindOther, TwoThatLeaveTheQueueTheLaterOneFirstAreNoConflict) {
    bench.hold_up();
    Answer first = bench.in_background(make_strict_step(1, milliseconds(1'000)));
    ASSERT_TRUE(bench.becomes_queued(2));
    Answer second = bench.in_background(make_strict_step(2, milliseconds(100)));
    ASSERT_TRUE(bench.becomes_queued(3));
    Answer last = bench.service().save_async(make_strict_step(3));
    EXPECT_EQ(code_of(second.get()), ErrorCode::kUnavailable);
    EXPECT_EQ(code_of(first.get()), ErrorCode::kUnavailable);
    bench.let_go();
    expect_saved(last, 1);
    expect_no_fallback();
}

TEST_F(BehindOther, ALaterSaveKnowsTheHeadAsItIs) {
    queue_behind_one_that_is_dropped(kAsync, true);
    const Receipt again = bench.service().save_agent_state(make_large_step("run", 6)).value();
    EXPECT_EQ(again.outcome, Outcome::kDeduplicated);
    EXPECT_EQ(again.version, 5);
    const Receipt next = bench.service().save_agent_state(make_large_step("run", 7)).value();
    EXPECT_EQ(next.outcome, Outcome::kPersisted);
    EXPECT_EQ(next.version, 6);
    EXPECT_EQ(history().back().base_version, 5);
    EXPECT_EQ(bench.service().load_agent_state({.run_id = "run"}).value().info.version, 6);
    expect_no_fallback();
}

TEST_F(BehindOther, AnotherWritersHeadUnderSeveralQueuedSavesMakesNoneFallBack) {
    ASSERT_TRUE(bench.service().save_agent_state(make_large_step("run", 1)).has_value());
    bench.hold_up();
    for (std::int64_t step = 2; step <= 5; ++step)
        behind.push_back(bench.service().save_async(make_large_step("run", step)));
    ASSERT_TRUE(StatePersistenceService(bench.inner).save_agent_state(make_large_step("run", 9)).has_value());
    bench.let_go();
    for (std::size_t i = 0; i < behind.size(); ++i) expect_saved(behind[i], static_cast<std::int64_t>(i) + 3);
    EXPECT_TRUE(bench.service().get_cache_stats().fallbacks_by_cause.empty());
    for (const SnapshotInfo& info : history()) {
        if (info.version <= 3) continue;
        EXPECT_EQ(info.base_version, info.version - 1) << "its base is where that was put";
    }
    EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
}

TEST_F(BehindOther, AStrictSaveHasNoConflictWithADroppedOneButWithAnotherWriter) {
    for (const bool is_another_there : {false, true}) {
        const std::string run = is_another_there ? "moved" : "alone";
        SCOPED_TRACE(run);
        Answer dropped = queue_one_that_is_too_late(run);
        StatePersistenceRequest strict = make_step(run, 2);
        strict.on_conflict = OnConflict::kFail;
        Answer strict_answer = bench.service().save_async(strict);
        // Then the head has the version that the strict save was prepared for.
        if (is_another_there) {
            ASSERT_TRUE(StatePersistenceService(bench.inner).save_agent_state(make_step(run, 7)).has_value());
        }
        expect_too_late(dropped);
        if (is_another_there) {
            EXPECT_EQ(code_of(strict_answer.get()), ErrorCode::kConflict);
            EXPECT_EQ(bench.on_disk(run), bench.steps({7}));
        } else {
            expect_saved(strict_answer, 1);
        }
    }
}

TEST_F(BehindOther, AnExpectedVersionThatADroppedSaveWasToMakeIsAConflict) {
    Answer dropped = queue_one_that_is_too_late("run");
    StatePersistenceRequest strict = make_step("run", 2);
    strict.on_conflict = OnConflict::kFail;
    strict.expected_version = 1;
    Answer answer = bench.service().save_async(strict);
    expect_too_late(dropped);
    const Result<Receipt> refused = answer.get();
    ASSERT_EQ(code_of(refused), ErrorCode::kConflict);
    EXPECT_EQ(refused.error().message, "the head of run \"run\" is at version 0, not at 1") << "nobody else saved it";
}

TEST_F(BehindOther, ADroppedParentIsNotFound) {
    Answer dropped = queue_one_that_is_too_late("run", "parent");
    StatePersistenceRequest child = make_step("run", 2);
    child.parent_snapshot_id = "parent";
    Answer answer = bench.service().save_async(child);
    expect_too_late(dropped);
    EXPECT_EQ(code_of(answer.get()), ErrorCode::kNotFound);
    EXPECT_TRUE(bench.on_disk("run").empty());
}

// The later one is dropped when the batch is made, the earlier one when the batch has failed.
TEST_F(BehindOther, TwoThatAreDroppedInSeveralTriesAreNoConflict) {
    bench.hold_up();
    bench.store->before_commit([](std::span<const RunBatch>) { wait_until_past(milliseconds(300)); });
    bench.store->inject({.code = ErrorCode::kUnavailable, .nth = 2});
    Answer first = bench.service().save_async(make_strict_step(1, milliseconds(300)));
    Answer second = bench.service().save_async(make_strict_step(2, milliseconds(1)));
    Answer last = bench.service().save_async(make_strict_step(3));
    wait_until_past(milliseconds(1));
    bench.let_go();
    EXPECT_EQ(code_of(second.get()), ErrorCode::kUnavailable);
    EXPECT_EQ(code_of(first.get()), ErrorCode::kUnavailable);
    expect_saved(last, 1);
}

// The parameter says whether another writer saves in between.
class BehindRefused : public BehindOther, public testing::WithParamInterface<bool> {};

TEST_P(BehindRefused, AStrictSaveHasAConflictWithAnotherWriterOnly) {
    StatePersistenceRequest taken = make_step("run", 1);
    taken.snapshot_id = "mine";
    ASSERT_TRUE(StatePersistenceService(bench.inner).save_agent_state(taken).has_value());
    bench.hold_up();
    StatePersistenceRequest bad = make_step("run", 2);
    bad.snapshot_id = "mine";
    Answer refused = bench.service().save_async(bad);
    Answer first = bench.service().save_async(make_strict_step(3));
    Answer second = bench.service().save_async(make_strict_step(4));
    if (GetParam()) {
        ASSERT_TRUE(StatePersistenceService(bench.inner).save_agent_state(make_step("run", 9)).has_value());
    }
    bench.let_go();
    EXPECT_EQ(code_of(refused.get()), ErrorCode::kAlreadyExists);
    if (GetParam()) {
        EXPECT_EQ(code_of(first.get()), ErrorCode::kConflict);
        EXPECT_EQ(code_of(second.get()), ErrorCode::kConflict);
        EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 9}));
    } else {
        expect_saved(first, 2);
        expect_saved(second, 3);
    }
}

INSTANTIATE_TEST_SUITE_P(, BehindRefused, testing::Bool(),
                         [](const auto& one) { return one.param ? "OfAnotherWriter" : "Alone"; });

// One thread saves a run in order, often with a short timeout, on a slow store. Now and then another writer moves the
// head.
TEST_F(BehindOther, SavesThatAreNotDroppedAreInOrderAndTheirReceiptsAreTrue) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    std::mt19937_64 random(first_seed);
    std::mt19937_64 slowness(first_seed + 1);
    bench.store->before_commit([&](std::span<const RunBatch>) {
        std::this_thread::sleep_for(milliseconds(slowness() % 10));
    });  // one at a time
    std::vector<std::pair<std::int64_t, Answer>> answers;
    std::set<std::int64_t> patient;
    for (std::int64_t step = 1; step <= 400; ++step) {
        StatePersistenceRequest request = make_large_step("run", step);
        request.durability = kSync;
        if (random() % 4 != 0) patient.insert(step);
        request.timeout = milliseconds(patient.contains(step) ? 60'000 : 1 + random() % 8);
        const bool is_blocking = random() % 8 == 0;
        answers.emplace_back(step, is_blocking ? bench.in_background(request) : bench.service().save_async(request));
        if (is_blocking) std::this_thread::sleep_for(milliseconds(1));
        if (random() % 50 == 0) {
            ASSERT_TRUE(
                StatePersistenceService(bench.inner).save_agent_state(make_large_step("run", -step)).has_value());
        }
    }
    std::map<std::int64_t, Receipt> saved;
    for (auto& [step, answer] : answers) {
        const Result<Receipt> result = answer.get();
        if (result) {
            saved[step] = *result;
        } else {
            EXPECT_TRUE(result.error().code == ErrorCode::kUnavailable ||
                        result.error().code == ErrorCode::kOutcomeUnknown)
                << result.error().to_string();
        }
    }
    bench.store->before_commit(nullptr);
    std::map<std::string, std::int64_t> versions;
    const std::vector<SnapshotInfo> found = bench.inner->history({.run_id = "run", .limit = 100'000}, soon()).value();
    for (const SnapshotInfo& info : found) versions[info.snapshot_id] = info.version;
    EXPECT_LT(saved.size(), answers.size()) << "nothing was dropped, so nothing was tested";
    for (const auto& [step, receipt] : saved) {
        // A save whose own deadline passes during its commit is tried once more, so only the patient ones are sure.
        if (patient.contains(step)) {
            EXPECT_EQ(receipt.outcome, Outcome::kPersisted) << "step " << step;
        }
        EXPECT_EQ(versions[receipt.snapshot_id], receipt.version) << "step " << step;
    }
    for (const std::int64_t step : patient) EXPECT_TRUE(saved.contains(step)) << "step " << step;
    EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
}

// ---- deadlines ----

TEST_F(GroupCommit, ADeadlineThatPassesInTheQueueIsUnavailableAndNothingIsApplied) {
    bench.hold_up();
    StatePersistenceRequest impatient = make_step("run", 1);
    impatient.timeout = milliseconds(20);
    Answer by_thread = bench.in_background(impatient);
    ASSERT_TRUE(bench.becomes_queued(2));
    impatient.run_id = "other";
    Answer by_future = bench.service().save_async(impatient);
    Answer behind = bench.service().save_async(make_step("run", 2));
    wait_until_past(milliseconds(20));
    bench.let_go();
    EXPECT_EQ(code_of(by_thread.get()), ErrorCode::kUnavailable);
    EXPECT_EQ(code_of(by_future.get()), ErrorCode::kUnavailable);
    ASSERT_TRUE(behind.get().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({2}));
    EXPECT_TRUE(bench.on_disk("other").empty());
}

TEST_F(GroupCommit, ASaveThatIsTooLateDoesNotTakeTheBatchApart) {
    bench.hold_up();
    auto answers = queue_one_of_each(20);
    StatePersistenceRequest impatient = make_step("late", 1);
    impatient.timeout = milliseconds(1);
    Answer late = bench.service().save_async(impatient);
    Answer behind = bench.service().save_async(make_step("late", 2));
    wait_until_past(milliseconds(1));
    bench.let_go();
    EXPECT_EQ(code_of(late.get()), ErrorCode::kUnavailable);
    for (Answer& answer : answers) expect_saved(answer, 1);
    expect_saved(behind, 1);
    EXPECT_TRUE(were_batched(20));
    EXPECT_EQ(bench.on_disk("late"), bench.steps({2}));
}

TEST_F(GroupCommit, AFlushIsNotOverBecauseTheNewestSaveHasLeftTheQueue) {
    bench.hold_up();
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1, kAsync)).has_value());
    StatePersistenceRequest impatient = make_step("run", 2, kSync);
    impatient.timeout = milliseconds(100);
    Answer newest = bench.in_background(impatient);
    ASSERT_TRUE(bench.becomes_queued(3));
    auto flushed = std::async(std::launch::async, [&] {
        EXPECT_TRUE(bench.service().flush("run").has_value());
        return bench.on_disk("run");
    });
    EXPECT_EQ(code_of(newest.get()), ErrorCode::kUnavailable);
    wait_until_past(milliseconds(20));  // for one that is over too early
    bench.let_go();
    EXPECT_EQ(flushed.get(), bench.steps({1}));
}

// A store that another process keeps busy for a moment, starting with the first commit.
class BusyStore final : public ForwardingStore {
public:
    using ForwardingStore::ForwardingStore;
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        std::call_once(first_, [&] { free_at_ = std::chrono::steady_clock::now() + milliseconds(50); });
        std::this_thread::sleep_until(std::min(free_at_, deadline));
        if (deadline < free_at_ && std::chrono::steady_clock::now() < free_at_) {
            return fail(ErrorCode::kUnavailable, "busy until the deadline");
        }
        return ForwardingStore::commit(batches, deadline);
    }

private:
    std::once_flag first_;
    Deadline free_at_;
};

// The time for which a save is held does not count towards its timeout for the store.
TEST_F(GroupCommit, AHeldSaveIsNotLostToABusyStoreBecauseItWasHeldForLong) {
    OptimizedStatePersistence service(std::make_shared<BusyStore>(bench.inner));
    StatePersistenceRequest held = make_step("run", 1, kExit);
    held.timeout = milliseconds(20);
    ASSERT_TRUE(service.save_agent_state(held).has_value());
    held.state_data = State::parse(step_text(2)).value();
    ASSERT_TRUE(service.save_agent_state(held).has_value());
    wait_until_past(milliseconds(20));
    const Status flushed = service.flush("run");
    EXPECT_TRUE(flushed.has_value()) << flushed.error().to_string();
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2}));
}

// A store that another process locks: each commit waits for it until its deadline.
class LockedStore final : public ForwardingStore {
public:
    using ForwardingStore::ForwardingStore;
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        std::unique_lock lock(mutex_);
        if (!unlocked_.wait_until(lock, deadline, [&] { return !is_locked_; })) {
            return fail(ErrorCode::kUnavailable, "locked until the deadline");
        }
        lock.unlock();
        return ForwardingStore::commit(batches, deadline);
    }
    void set_locked(bool is_locked) {
        const std::lock_guard lock(mutex_);
        is_locked_ = is_locked;
        unlocked_.notify_all();
    }

private:
    std::mutex mutex_;
    std::condition_variable unlocked_;
    bool is_locked_ = false;
};

// One save with a short timeout among patient ones, in a batch that fails as a whole.
class ShortTimeoutInABatch : public GroupCommit {
protected:
    static StatePersistenceRequest hasty(Durability durability = kSync) {
        StatePersistenceRequest request = make_step("hasty", 1, durability);
        request.timeout = milliseconds(1000);
        return request;
    }
    // Of the commits: the first is the blocker's.
    bool is_second() const { return bench.store->calls(StoreCall::kCommit) == 1; }
    // The batch is queued, and its first commit fails with `code`; the first save that is tried alone waits.
    Answer fail_batch_with(ErrorCode code) {
        bench.store->before_commit([this](std::span<const RunBatch> batch) {
            bench.gate.pass(batch);
            if (is_second()) bench.gate.close();
        });
        bench.hold_up();
        patient = queue_one_of_each(3);
        bench.store->inject({.code = code, .nth = 2});
        Answer answer = bench.in_background(hasty());
        EXPECT_TRUE(bench.becomes_queued(5));
        bench.let_go();
        bench.gate.await(1);
        return answer;
    }
    void expect_patient_saved() {
        for (Answer& answer : patient) expect_saved(answer, 1);
    }

    std::vector<Answer> patient;
};

TEST_F(ShortTimeoutInABatch, IsKeptWhileTheOthersAreTriedAlone) {
    Answer answer = fail_batch_with(ErrorCode::kInternal);
    EXPECT_EQ(code_of(answer.get()), ErrorCode::kUnavailable) << "nothing was applied";
    bench.gate.open();
    expect_patient_saved();
    EXPECT_TRUE(bench.on_disk("hasty").empty());
    EXPECT_EQ(bench.service().save_agent_state(make_step("hasty", 1)).value().version, 1);
}

TEST_F(ShortTimeoutInABatch, IsKeptAndTheOutcomeStaysUnknownIfItWas) {
    Answer answer = fail_batch_with(ErrorCode::kOutcomeUnknown);
    const Result<Receipt> left = answer.get();
    EXPECT_EQ(code_of(left), ErrorCode::kOutcomeUnknown);
    EXPECT_THAT(left.error().message, testing::HasSubstr("may or may not have been applied"));
    bench.gate.open();
    expect_patient_saved();
}

class ShortTimeoutOfALockedStore : public ShortTimeoutInABatch, public testing::WithParamInterface<bool> {
protected:
    void SetUp() override {
        bench.store = std::make_shared<FaultyStore>(locked);
        bench.store->set_commits_at_once(1);
        bench.store->before_commit([this](std::span<const RunBatch> batch) {
            bench.gate.pass(batch);
            if (is_second()) locked->set_locked(true);
        });
    }

    const std::shared_ptr<LockedStore> locked = std::make_shared<LockedStore>(bench.inner);
};

TEST_P(ShortTimeoutOfALockedStore, EndsForItselfOnly) {
    bench.hold_up();
    patient = queue_one_of_each(3);
    Answer answer = GetParam() ? bench.in_background(hasty()) : bench.service().save_async(hasty());
    ASSERT_TRUE(bench.becomes_queued(5));
    bench.let_go();
    ASSERT_EQ(answer.wait_for(std::chrono::seconds(60)), std::future_status::ready) << "it waits for the others";
    EXPECT_EQ(code_of(answer.get()), ErrorCode::kUnavailable) << "nothing was applied";
    locked->set_locked(false);
    expect_patient_saved();
    EXPECT_TRUE(bench.on_disk("hasty").empty());
    EXPECT_EQ(bench.gate.batches().back().size(), 3U) << "the others are committed together all the same";
}

TEST_P(ShortTimeoutOfALockedStore, DoesNotEndAFlushWithTheSavesBeforeIt) {
    bench.hold_up();
    ASSERT_TRUE(bench.service().save_agent_state(make_step("hasty", 0, kAsync)).has_value());
    Answer answer = GetParam() ? bench.in_background(hasty()) : bench.service().save_async(hasty());
    ASSERT_TRUE(bench.becomes_queued(3));
    auto flushed = std::async(std::launch::async, [&] {
        EXPECT_TRUE(bench.service().flush("hasty").has_value());
        return bench.on_disk("hasty");
    });
    bench.let_go();
    EXPECT_EQ(code_of(answer.get()), ErrorCode::kUnavailable);
    wait_until_past(milliseconds(20));  // for a flush that is over too early
    locked->set_locked(false);
    EXPECT_EQ(flushed.get(), bench.steps({0}));
}

INSTANTIATE_TEST_SUITE_P(, ShortTimeoutOfALockedStore, testing::Bool(),
                         [](const auto& one) { return one.param ? "ByAThread" : "ByACompletion"; });

TEST_F(GroupCommit, ADeadlineThatPassesDuringTheCommitIsAnsweredTruly) {
    bench.gate.close();
    StatePersistenceRequest impatient = make_step("run", 1);
    impatient.timeout = milliseconds(20);
    Answer by_thread = bench.in_background(impatient);
    bench.gate.await(1);
    wait_until_past(milliseconds(20));
    bench.gate.open();
    const Result<Receipt> answer = by_thread.get();
    ASSERT_TRUE(bench.service().flush_all().has_value());
    const bool is_there = !bench.on_disk("run").empty();
    if (answer) {
        EXPECT_TRUE(is_there);
    } else if (answer.error().code == ErrorCode::kUnavailable) {
        EXPECT_FALSE(is_there) << "unavailable says that nothing was applied";
    } else {
        EXPECT_EQ(answer.error().code, ErrorCode::kOutcomeUnknown) << answer.error().to_string();
    }
    const Receipt again = bench.service().save_agent_state(make_step("run", 1)).value();
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
    EXPECT_EQ(again.version, 1);
}

// The flush waits for the newest save of each run. That of "run" leaves the queue; by then a held one is the newest.
TEST_F(GroupCommit, AFlushReleasesAHeldSaveThatItMeetsLater) {
    bench.store->set_commits_at_once(3);
    bench.hold_up();
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1, kAsync)).has_value());
    bench.gate.await(2);
    StatePersistenceRequest impatient = make_step("run", 2, kSync);
    impatient.timeout = milliseconds(500);
    Answer leaving = bench.in_background(impatient);
    ASSERT_TRUE(bench.becomes_queued(3));
    ASSERT_TRUE(bench.service().save_agent_state(make_step("signal", 1, kExit)).has_value());
    auto flushed = std::async(std::launch::async, [&] { return bench.service().flush_all(std::chrono::seconds(20)); });
    bench.gate.await(3);  // the flush has begun: it has released what was held
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 3, kExit)).has_value());
    EXPECT_EQ(code_of(leaving.get()), ErrorCode::kUnavailable);
    bench.let_go();
    EXPECT_TRUE(flushed.get().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 3}));
}

// A sharer may wait for longer than the service's timeout, from which the deadline of a held save is made.
TEST(QueuedSave, ThatIsHeldKeepsTheDeadlineOfACallerThatSharesItsFate) {
    QueueBench bench;
    bench.options.timeout = milliseconds(100);
    bench.gate.close();
    StatePersistenceRequest patient = make_step("blocker", 1, kSync);
    patient.timeout = std::chrono::minutes(10);
    Answer blocker = bench.in_background(patient);
    bench.gate.await(1);
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1, kExit)).has_value());
    patient = make_step("run", 1, kSync);
    patient.timeout = std::chrono::minutes(10);
    Answer sharer = bench.service().save_async(patient);
    wait_until_past(milliseconds(100));
    bench.gate.open();
    EXPECT_TRUE(blocker.get().has_value());
    const Result<Receipt> shared = sharer.get();
    ASSERT_TRUE(shared.has_value()) << shared.error().to_string();
    EXPECT_EQ(shared->outcome, Outcome::kDeduplicated);
}

// The clock fails once the save has found the one that it would replace.
TEST(QueuedSave, KeepsItsIdIfTheSaveThatWasToReplaceItFallsBack) {
    class FailingClock final : public Clock {
    public:
        Timestamp now() override {
            if (fails.exchange(false)) throw std::runtime_error("of the test");
            return kEpoch;
        }
        std::atomic<bool> fails = false;
    };
    const auto clock = std::make_shared<FailingClock>();
    QueueBench bench;
    bench.options.latest_only = true;
    bench.options.runtime.clock = clock;
    OptimizedStatePersistence service(bench.inner, bench.options);
    const Receipt older = service.save_agent_state(make_step("run", 1, kExit)).value();
    clock->fails = true;
    const Receipt newer = service.save_agent_state(make_step("run", 2, kExit)).value();
    EXPECT_EQ(newer.outcome, Outcome::kFallback);
    EXPECT_NE(newer.snapshot_id, older.snapshot_id);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2}));
}

// ---- a place in the queue ----

TEST_F(GroupCommit, APlaceThatACallerLeavesIsGivenAwayAtOnce) {
    bench.options.queue_limits.saves_max = 2;
    bench.hold_up();
    StatePersistenceRequest impatient = make_step("impatient", 1);
    impatient.timeout = milliseconds(200);
    Answer leaving = bench.in_background(impatient);
    ASSERT_TRUE(bench.becomes_queued(2));
    Answer newcomer = bench.in_background(make_step("newcomer", 1, kAsync));
    EXPECT_EQ(code_of(leaving.get()), ErrorCode::kUnavailable);
    EXPECT_EQ(newcomer.wait_for(std::chrono::seconds(20)), std::future_status::ready) << "it waits for the commit";
    bench.let_go();
    EXPECT_EQ(newcomer.get().value().outcome, Outcome::kQueued);
}

// A caller whose save is too large for the queue commits what is there, one save at a time.
TEST_F(GroupCommit, ACallerThatWaitsForAPlaceMakesNoCommitAfterItsDeadline) {
    bench.options.batch_limits.saves_max = 1;
    bench.options.queue_limits.bytes_max = 4'000;
    const std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> commits_of_caller = 0;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        if (std::this_thread::get_id() != caller) return;
        ++commits_of_caller;
        wait_until_past(milliseconds(50));
    });
    for (std::size_t run = 0; run < 4; ++run) {
        ASSERT_TRUE(bench.service().save_agent_state(make_step(name(run), 1, kExit)).has_value());
    }
    StatePersistenceRequest large = make_request("large", fmt::format(R"({{"text":"{}"}})", std::string(9'000, 'x')));
    large.timeout = milliseconds(50);
    EXPECT_EQ(code_of(bench.service().save_agent_state(large)), ErrorCode::kUnavailable);
    EXPECT_LE(commits_of_caller, 1);
    bench.destroy_service();  // it commits what is still queued, which calls the function above
}

// ---- which thread makes the next commit ----

// The service's only thread calls a completion, which does not end before the test lets it.
class WithABusyThread : public GroupCommit {
protected:
    void SetUp() override { keep_thread_busy(); }
    void keep_thread_busy() {
        std::promise<void> begun;
        bench.gate.close();  // so that the completion is there when the save ends
        bench.service().save_async(make_step("busy", 1),
                                   [&, end = may_end.get_future().share()](const Result<Receipt>&) {
                                       begun.set_value();
                                       end.wait();
                                   });
        bench.gate.open();
        begun.get_future().wait();
    }
    void TearDown() override { let_thread_end(); }
    void let_thread_end() {
        if (!std::exchange(may_end_already_, true)) may_end.set_value();
    }
    // If not, the busy thread may end, so that the test can.
    bool ends_soon(Answer& answer) {
        const bool is_soon = answer.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
        if (!is_soon) let_thread_end();
        return is_soon;
    }
    // The gate is closed again when the blocker has passed it. To be called before `hold_up`.
    void hold_up_the_commit_after_the_blocker() {
        bench.store->before_commit([this](std::span<const RunBatch> batch) {
            bench.gate.pass(batch);
            if (bench.store->calls(StoreCall::kCommit) == kBlocker) bench.gate.close();
        });
    }

    // The number of commits before that of the blocker, and before the next one.
    static constexpr std::uint64_t kBlocker = 1;
    static constexpr std::uint64_t kBehindBlocker = 2;

    std::promise<void> may_end;

private:
    bool may_end_already_ = false;
};

// The save that goes alone is tried until its own deadline, which is later than that of the caller.
TEST_F(WithABusyThread, ACallerEndsInTimeThoughASaveBeforeItsOwnIsTriedForLonger) {
    bench.hold_up();
    bench.store->inject({.code = ErrorCode::kStorageFull, .nth = 2});
    const Answer patient = bench.service().save_async(make_step("patient", 1));
    StatePersistenceRequest hasty = make_step("hasty", 1);
    hasty.timeout = milliseconds(300);
    Answer answer = bench.in_background(hasty);
    ASSERT_TRUE(bench.becomes_queued(3));
    bench.let_go();
    ASSERT_TRUE(ends_soon(answer));
    EXPECT_EQ(code_of(answer.get()), ErrorCode::kUnavailable);
}

// The next save has no waiter, and the caller already sleeps when it may be committed.
TEST_F(WithABusyThread, ASleepingCallerMakesACommitThatNobodyWaitsFor) {
    bench.options.batch_limits.saves_max = 1;
    bench.hold_up();
    ASSERT_TRUE(bench.service().save_agent_state(make_step("first", 1, kAsync)).has_value());
    Answer answer = bench.in_background(make_step("second", 1));
    ASSERT_TRUE(bench.becomes_queued(3));
    wait_until_past(milliseconds(20));  // for it to sleep
    bench.let_go();
    EXPECT_TRUE(ends_soon(answer));
    EXPECT_EQ(bench.on_disk("first"), bench.steps({1}));
}

// One of two callers sleeps while the other one commits the saves of both. It comes first in the line of sleepers, but
// it returns when that commit has ended.
TEST_F(WithABusyThread, ACallerWhoseSaveHasEndedIsNotTheOneThatIsNotifiedToLead) {
    hold_up_the_commit_after_the_blocker();
    bench.hold_up();
    Answer one = bench.in_background(make_step("one", 1));
    Answer two = bench.in_background(make_step("two", 1));
    ASSERT_TRUE(bench.becomes_queued(3));
    bench.let_go();
    bench.gate.await(1);
    wait_until_past(milliseconds(20));  // for the one that does not commit to sleep
    ASSERT_TRUE(bench.service().save_agent_state(make_step("unawaited", 1, kAsync)).has_value());
    Answer last = bench.in_background(make_step("last", 1));
    ASSERT_TRUE(bench.becomes_queued(4));
    wait_until_past(milliseconds(20));  // for it to sleep
    bench.gate.open();
    EXPECT_TRUE(one.get().has_value());
    EXPECT_TRUE(two.get().has_value());
    EXPECT_TRUE(ends_soon(last)) << "nobody makes the next commit";
    EXPECT_EQ(bench.on_disk("unawaited"), bench.steps({1}));
}

// Another writer makes the commit fail for two runs, so that their saves are tried again alone. The first caller that
// sleeps waits in `share` for the second of them. It is notified to lead, but the first one is tried for longer than
// this caller waits. At its deadline it notifies the next caller.
TEST_F(WithABusyThread, ACallerThatSharesASaveInFlightPassesTheLeadOnAtItsDeadline) {
    hold_up_the_commit_after_the_blocker();
    bench.hold_up();
    Answer next = bench.service().save_async(make_step("next", 1));
    const Answer twin = bench.service().save_async(make_step("twin", 1));
    Answer leader = bench.in_background(make_step("leader", 1));
    ASSERT_TRUE(bench.becomes_queued(4));
    StatePersistenceService other(bench.inner);
    ASSERT_TRUE(other.save_agent_state(make_step("next", 9)).has_value());
    ASSERT_TRUE(other.save_agent_state(make_step("twin", 9)).has_value());
    bench.let_go();
    bench.gate.await(1);
    StatePersistenceRequest equal = make_step("twin", 1);
    equal.timeout = milliseconds(1'000);
    Answer sharer = bench.in_background(equal);
    ASSERT_TRUE(bench.is_in_turn("twin"));
    wait_until_past(milliseconds(20));  // for it to sleep
    StatePersistenceRequest patient = make_step("patient", 1);
    patient.timeout = std::chrono::minutes(20);
    Answer last = bench.in_background(patient);
    ASSERT_TRUE(bench.becomes_queued(4));
    wait_until_past(milliseconds(20));  // for it to sleep
    bench.gate.open();
    EXPECT_TRUE(leader.get().has_value());
    EXPECT_EQ(code_of(sharer.get()), ErrorCode::kUnavailable);
    ASSERT_TRUE(ends_soon(last)) << "nobody makes the next commit";
    expect_saved(next, 2);
}

// A store that another process locks when the commit behind the blocker's begins.
class WithABusyThreadAndALockedStore : public WithABusyThread {
protected:
    void SetUp() override {
        bench.options.batch_limits.bytes_max = kBatchBytes;
        bench.store = std::make_shared<FaultyStore>(locked);
        bench.store->set_commits_at_once(1);
        bench.store->before_commit([this](std::span<const RunBatch> batch) {
            bench.gate.pass(batch);
            if (bench.store->calls(StoreCall::kCommit) == kBehindBlocker) locked->set_locked(true);
        });
        keep_thread_busy();
    }

    static constexpr std::uint64_t kBatchBytes = 300;  // a large step goes alone
    const std::shared_ptr<LockedStore> locked = std::make_shared<LockedStore>(bench.inner);
};

// A hasty caller commits a patient save, and the store is locked until that caller's deadline. This is no answer to the
// patient save. So when it is tried alone later, after a failure together with another, it is committed as prepared.
TEST_F(WithABusyThreadAndALockedStore, TheDeadlineOfTheCallerThatLeadsIsNoAnswerToTheSaveThatItCommits) {
    bench.hold_up();
    Answer patient = bench.service().save_async(make_step("patient", 1));
    StatePersistenceRequest large = make_large_step("hasty", 1);
    large.timeout = milliseconds(1'000);
    Answer hasty = bench.in_background(large);
    ASSERT_TRUE(bench.becomes_queued(3));
    bench.let_go();
    EXPECT_EQ(code_of(hasty.get()), ErrorCode::kUnavailable);
    EXPECT_EQ(bench.gate.batches().back(), std::vector<std::string>{"patient"});
    EXPECT_NE(patient.wait_for(milliseconds(0)), std::future_status::ready) << "it has its own deadline";
    locked->set_locked(false);
    bench.store->inject({.code = ErrorCode::kInternal});
    StatePersistenceRequest other = make_step("other", 1);
    other.timeout = std::chrono::minutes(20);
    EXPECT_TRUE(bench.service().save_agent_state(other).has_value());
    EXPECT_TRUE(were_batched(2)) << "the two did not fail together";
    const Receipt receipt = patient.get().value();
    EXPECT_EQ(receipt.outcome, Outcome::kPersisted);
    EXPECT_TRUE(bench.service().get_cache_stats().fallbacks_by_cause.empty());
}

}  // namespace
}  // namespace cairn::test
