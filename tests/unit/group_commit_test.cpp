// Goal: saves that are committed together do not harm each other. The queue keeps its limits by making callers wait.
// The completion of an asynchronous save is called exactly once, in every case that `cairn/persistence.h` names.
// Method: calls of the public service, over a memory store. Its commits are held up until the saves that should share a
// batch are queued, or are made to fail. Every batch that reaches the store is recorded.

#include "support/queue_bench.h"
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

using std::chrono::milliseconds;

constexpr Durability kSync = Durability::kSync;
constexpr Durability kAsync = Durability::kAsync;
constexpr Durability kExit = Durability::kExit;

using Answer = std::future<Result<Receipt>>;

void wait_until_past(milliseconds time) {
    std::this_thread::sleep_until(std::chrono::steady_clock::now() + time + milliseconds(1));
}

// Returns the id of the snapshot that a message names.
std::string id_in(const std::string& message) {
    constexpr std::string_view kBefore = "snapshot ";
    const std::size_t at = message.find(kBefore);
    return at == std::string::npos ? "" : message.substr(at + kBefore.size(), 36);
}

class GroupCommit : public testing::Test {
protected:
    // Queues one save of each of so many runs, while the store is busy.
    std::vector<Answer> queue_one_of_each(std::size_t runs, std::int64_t step = 1) {
        std::vector<Answer> answers;
        for (std::size_t run = 0; run < runs; ++run) {
            answers.push_back(bench.service().save_async(make_step(name(run), step)));
        }
        EXPECT_TRUE(bench.becomes_queued(runs));
        return answers;
    }
    static std::string name(std::size_t run) { return fmt::format("run-{}", run); }

    // Says whether at least so many saves ever shared a transaction. Without that, a test would show nothing.
    bool were_batched(std::size_t saves) const {
        return std::ranges::any_of(bench.gate.batches(), [&](const auto& batch) { return batch.size() >= saves; });
    }
    void expect_saved(Answer& answer, std::int64_t version) {
        const auto receipt = answer.get();
        ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
        EXPECT_EQ(receipt->version, version);
        EXPECT_EQ(receipt->durability, kSync);
    }

    QueueBench bench;
};

// ---- together ----

TEST_F(GroupCommit, SavesThatCameDuringACommitAreCommittedTogether) {
    bench.hold_up();
    auto answers = queue_one_of_each(20);
    bench.let_go();
    for (Answer& answer : answers) expect_saved(answer, 1);
    EXPECT_TRUE(were_batched(20));
    const CacheStats stats = bench.service().get_cache_stats();
    EXPECT_GE(stats.batches, 1U);
    EXPECT_GE(stats.batched, 20U);
    EXPECT_EQ(stats.queue_size, 0U);
}

TEST_F(GroupCommit, ThreadsThatWaitShareACommitToo) {
    bench.hold_up();
    std::vector<Answer> answers;
    for (std::size_t run = 0; run < 8; ++run) answers.push_back(bench.in_background(make_step(name(run), 1, kSync)));
    ASSERT_TRUE(bench.becomes_queued(9)) << "with the one that is being committed";
    bench.let_go();
    for (Answer& answer : answers) expect_saved(answer, 1);
    EXPECT_TRUE(were_batched(8));
}

TEST_F(GroupCommit, ALoneSaveIsOneTransactionAndWaitsForNobody) {
    for (std::int64_t step = 1; step <= 5; ++step) {
        ASSERT_TRUE(bench.service().save_agent_state(make_step("run", step)).has_value());
        EXPECT_EQ(bench.store->calls(StoreCall::kCommit), static_cast<std::uint64_t>(step));
    }
}

TEST_F(GroupCommit, NoBatchExceedsItsLimits) {
    bench.options.batch_limits = {.saves_max = 10, .run_saves_max = 3};
    bench.hold_up();
    std::vector<Answer> answers;
    for (std::int64_t step = 1; step <= 40; ++step)
        answers.push_back(bench.service().save_async(make_step("busy", step)));
    auto polite = queue_one_of_each(12);
    bench.let_go();
    for (std::size_t i = 0; i < answers.size(); ++i) expect_saved(answers[i], static_cast<std::int64_t>(i) + 1);
    for (Answer& answer : polite) expect_saved(answer, 1);
    EXPECT_TRUE(were_batched(4));
    for (const auto& batch : bench.gate.batches()) {
        EXPECT_LE(batch.size(), 10U);
        EXPECT_LE(std::ranges::count(batch, "busy"), 3);
    }
}

TEST_F(GroupCommit, ABusyRunDoesNotHoldUpThePolite) {
    bench.options.batch_limits.run_saves_max = 4;
    bench.hold_up();
    std::vector<Answer> busy;
    for (std::int64_t step = 1; step <= 200; ++step)
        busy.push_back(bench.service().save_async(make_step("busy", step)));
    Answer polite = bench.service().save_async(make_step("polite", 1));
    bench.let_go();
    for (Answer& answer : busy) ASSERT_TRUE(answer.get().has_value());
    expect_saved(polite, 1);
    const auto batches = bench.gate.batches();
    std::size_t before = 0;
    for (const auto& batch : batches) {
        if (std::ranges::count(batch, "polite") > 0) break;
        before += static_cast<std::size_t>(std::ranges::count(batch, "busy"));
    }
    EXPECT_LE(before, 8U) << "the polite run's only save stood behind " << before << " of the busy one's";
}

TEST_F(GroupCommit, ALimitOfNoSavesStillLetsOneThrough) {
    bench.options.batch_limits = {.saves_max = 0, .run_saves_max = 0, .bytes_max = 0};
    bench.options.queue_limits.saves_max = 0;
    StatePersistenceRequest request = make_step("run", 1);
    request.timeout = milliseconds(500);  // ends a save that never finds anything to commit
    EXPECT_TRUE(bench.service().save_agent_state(request).has_value());
}

TEST_F(GroupCommit, ALargeFrameGoesAlone) {
    bench.options.batch_limits.bytes_max = 2000;
    bench.options.enable_compression = false;
    bench.hold_up();
    std::vector<Answer> answers;
    for (std::size_t run = 0; run < 6; ++run) {
        const std::string filler(run == 3 ? 10'000 : 800, 'x');
        answers.push_back(
            bench.service().save_async(make_request(name(run), fmt::format(R"({{"filler":"{}"}})", filler))));
    }
    bench.let_go();
    for (Answer& answer : answers) expect_saved(answer, 1);
    for (const auto& batch : bench.gate.batches()) {
        EXPECT_LE(batch.size(), 2U);
        EXPECT_TRUE(batch.size() == 1 || std::ranges::count(batch, name(3)) == 0);
    }
}

TEST_F(GroupCommit, SavesOfOneRunInOneBatchChain) {
    bench.options.batch_limits.run_saves_max = 10;
    bench.hold_up();
    std::vector<Answer> answers;
    for (std::int64_t step = 1; step <= 10; ++step)
        answers.push_back(bench.service().save_async(make_step("run", step)));
    bench.let_go();
    for (std::int64_t step = 1; step <= 10; ++step) expect_saved(answers[static_cast<std::size_t>(step - 1)], step);
    EXPECT_TRUE(were_batched(10));
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
    EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
}

// ---- one bad save ----

TEST_F(GroupCommit, AnotherWritersHeadRebasesOneSaveAndLeavesItsNeighboursAlone) {
    ASSERT_TRUE(bench.service().save_agent_state(make_step(name(2), 100)).has_value());
    bench.hold_up();
    auto answers = queue_one_of_each(5);
    StatePersistenceService other(bench.inner);
    ASSERT_TRUE(other.save_agent_state(make_step(name(2), 200)).has_value());
    bench.let_go();
    for (std::size_t run = 0; run < 5; ++run) expect_saved(answers[run], run == 2 ? 3 : 1);
    EXPECT_TRUE(were_batched(5)) << "they were meant to fail together first";
    EXPECT_EQ(bench.on_disk(name(2)), bench.steps({100, 200, 1}));
}

TEST_F(GroupCommit, ARebasedSaveKeepsTheParentThatItWasGiven) {
    const Receipt parent = bench.service().save_agent_state(make_step("run", 1)).value();
    bench.hold_up();
    StatePersistenceRequest grown = make_step("run", 2);
    grown.parent_snapshot_id = parent.snapshot_id;  // the head, until another writer moves it
    Answer answer = bench.service().save_async(grown);
    StatePersistenceService other(bench.inner);
    ASSERT_TRUE(other.save_agent_state(make_step("run", 100)).has_value());
    bench.let_go();
    const Receipt receipt = answer.get().value();
    EXPECT_EQ(receipt.version, 3);
    EXPECT_EQ(bench.inner->get("run", receipt.snapshot_id, soon()).value().value().info.parent_version, 1);
}

TEST_F(GroupCommit, AConflictThatWasAskedForFailsAlone) {
    ASSERT_TRUE(bench.service().save_agent_state(make_step(name(5), 100)).has_value());
    bench.hold_up();
    auto answers = queue_one_of_each(5);
    StatePersistenceRequest strict = make_step(name(5), 1);
    strict.on_conflict = OnConflict::kFail;
    strict.expected_version = 1;
    Answer refused = bench.service().save_async(strict);
    StatePersistenceService other(bench.inner);
    ASSERT_TRUE(other.save_agent_state(make_step(name(5), 200)).has_value());
    bench.let_go();
    EXPECT_EQ(code_of(refused.get()), ErrorCode::kConflict);
    for (Answer& answer : answers) expect_saved(answer, 1);
    EXPECT_EQ(bench.on_disk(name(5)), bench.steps({100, 200}));
}

TEST_F(GroupCommit, ATakenSnapshotIdFailsAlone) {
    StatePersistenceService other(bench.inner);
    StatePersistenceRequest taken = make_step(name(5), 100);
    taken.snapshot_id = "mine";
    ASSERT_TRUE(other.save_agent_state(taken).has_value());
    ASSERT_TRUE(other.save_agent_state(make_step(name(5), 101)).has_value());
    bench.hold_up();
    auto answers = queue_one_of_each(5);
    taken.state_data = State::parse(step_text(1)).value();
    Answer refused = bench.service().save_async(taken);
    Answer behind = bench.service().save_async(make_step(name(5), 2));
    bench.let_go();
    EXPECT_EQ(code_of(refused.get()), ErrorCode::kAlreadyExists);
    expect_saved(behind, 3);
    for (Answer& answer : answers) expect_saved(answer, 1);
    EXPECT_EQ(bench.on_disk(name(5)), bench.steps({100, 101, 2}));
}

TEST_F(GroupCommit, ARunThatBecameAnotherUsersFailsAlone) {
    bench.hold_up();
    auto answers = queue_one_of_each(5);
    StatePersistenceService other(bench.inner);
    StatePersistenceRequest first = make_step(name(2), 100);
    first.user_id = "somebody else";
    ASSERT_TRUE(other.save_agent_state(first).has_value());
    bench.let_go();
    for (std::size_t run = 0; run < 5; ++run) {
        if (run == 2) {
            EXPECT_EQ(code_of(answers[run].get()), ErrorCode::kInvalidArgument);
        } else {
            expect_saved(answers[run], 1);
        }
    }
    EXPECT_EQ(bench.on_disk(name(2)), bench.steps({100}));
}

TEST_F(GroupCommit, ABatchThatFailsIsSavedOneByOne) {
    bench.hold_up();
    auto answers = queue_one_of_each(6);
    bench.store->inject({.code = ErrorCode::kInternal, .nth = 2});  // the first is the blocker's own
    bench.let_go();
    for (Answer& answer : answers) expect_saved(answer, 1);
    EXPECT_TRUE(were_batched(6));
    EXPECT_EQ(bench.service().get_cache_stats().failed_batches, 1U);
    for (std::size_t run = 0; run < 6; ++run) EXPECT_EQ(bench.on_disk(name(run)), bench.steps({1}));
}

TEST_F(GroupCommit, AfterAFallbackTheNextSaveKnowsTheHead) {
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1)).has_value());
    bench.store->inject({.code = ErrorCode::kInternal});
    EXPECT_EQ(bench.service().save_agent_state(make_step("run", 2)).value().outcome, Outcome::kFallback);
    EXPECT_EQ(bench.service().save_agent_state(make_step("run", 3, kExit)).value().version, 3);
    const auto commits_before = bench.store->calls(StoreCall::kCommit);
    ASSERT_TRUE(bench.service().flush("run").has_value());
    EXPECT_EQ(bench.store->calls(StoreCall::kCommit), commits_before + 1) << "it met a conflict with its own service";
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 3}));
}

TEST_F(GroupCommit, AnUnknownOutcomeOfABatchIsResolvedAndNothingIsThereTwice) {
    for (const bool after_effect : {true, false}) {
        QueueBench other;
        other.hold_up();
        std::vector<Answer> answers;
        for (std::int64_t step = 1; step <= 3; ++step) {
            for (const std::string run : {"a", "b", "c"}) {
                answers.push_back(other.service().save_async(make_step(run, step)));
            }
        }
        other.store->inject({.code = ErrorCode::kOutcomeUnknown, .nth = 2, .after_effect = after_effect});
        other.let_go();
        for (Answer& answer : answers) {
            const auto receipt = answer.get();
            ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
        }
        for (const std::string run : {"a", "b", "c"}) EXPECT_EQ(other.on_disk(run), other.steps({1, 2, 3}));
    }
}

// The unknown commit of the save itself has moved the head.
TEST_F(GroupCommit, ASaveThatAnUnknownBatchAppliedIsNoConflictForItsFallback) {
    bench.hold_up();
    std::vector<Answer> answers;
    for (const std::string run : {"a", "b"}) {
        StatePersistenceRequest request = make_step(run, 1);
        request.on_conflict = OnConflict::kFail;
        request.expected_version = 0;
        answers.push_back(bench.service().save_async(request));
    }
    bench.store->inject(
        {.code = ErrorCode::kOutcomeUnknown, .nth = 2, .after_effect = true});  // the commit after the blocker's
    bench.store->inject({.code = ErrorCode::kUnavailable, .nth = 3});           // the commit of "a" alone
    bench.let_go();
    for (Answer& answer : answers) expect_saved(answer, 1);
    for (const std::string run : {"a", "b"}) EXPECT_EQ(bench.on_disk(run), bench.steps({1}));
}

TEST_F(GroupCommit, AnUnknownOutcomeStaysUnknownWhenTheStoreIsClosed) {
    bench.hold_up();
    auto answers = queue_one_of_each(3);
    bench.store->inject({.code = ErrorCode::kOutcomeUnknown, .nth = 2});  // the first is the blocker's
    bench.store->inject({.code = ErrorCode::kClosed, .nth = 3, .for_good = true});
    bench.let_go();
    for (Answer& answer : answers) EXPECT_EQ(code_of(answer.get()), ErrorCode::kOutcomeUnknown);
}

TEST_F(GroupCommit, RandomFailuresLoseNothingAndChangeNoOrder) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    for (std::uint64_t round = 0; round < 20; ++round) {
        std::mt19937_64 random(first_seed + round);
        QueueBench other;
        other.options.batch_limits.saves_max = 1 + random() % 6;
        auto& service = other.service();
        constexpr ErrorCode kCodes[] = {ErrorCode::kUnavailable, ErrorCode::kOutcomeUnknown, ErrorCode::kInternal,
                                        ErrorCode::kStorageFull};
        std::uint64_t nth = 0;
        for (int fault = 0; fault < 6; ++fault) {
            const ErrorCode code = kCodes[random() % 4];
            nth += 30 + random() % 20;  // far enough from the fault before not to hit its retries
            other.store->inject(
                {.code = code, .nth = nth, .after_effect = code == ErrorCode::kOutcomeUnknown && random() % 2 == 0});
        }
        std::vector<Answer> answers;
        std::vector<std::string> called;
        for (std::int64_t step = 1; step <= 150; ++step) {
            for (const std::string run : {"a", "b"}) answers.push_back(service.save_async(make_step(run, step)));
            called.push_back(step_text(step));
        }
        for (Answer& answer : answers) {
            const auto receipt = answer.get();
            ASSERT_TRUE(receipt.has_value()) << "round " << round << ": " << receipt.error().to_string();
        }
        EXPECT_EQ(other.on_disk("a"), called) << "round " << round;
        EXPECT_EQ(other.on_disk("b"), called) << "round " << round;
        EXPECT_TRUE(check_deep(*other.inner, Deadline::max()).value().findings.empty());
    }
}

// Makes a save whose state is worth a delta.
StatePersistenceRequest make_large_step(std::string run, std::int64_t step) {
    std::mt19937_64 random(7);
    std::string text = fmt::format(R"({{"step":{},"notes":[)", step);
    for (int i = 0; i < 60; ++i) text += fmt::format(R"("{:016x}",)", random());
    return make_request(std::move(run), text + fmt::format(R"({}]}})", step * step));
}

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

// Each wants a conflict if another writer saves in between; saves of this service that were dropped are none.
TEST_F(BehindOther, TwoThatLeaveTheQueueTheLaterOneFirstAreNoConflict) {
    bench.hold_up();
    const auto refusing = [](std::int64_t step, milliseconds timeout) {
        StatePersistenceRequest request = make_step("run", step);
        request.on_conflict = OnConflict::kFail;
        request.timeout = timeout;
        return request;
    };
    Answer first = bench.in_background(refusing(1, milliseconds(1'000)));
    ASSERT_TRUE(bench.becomes_queued(2));
    Answer second = bench.in_background(refusing(2, milliseconds(100)));
    ASSERT_TRUE(bench.becomes_queued(3));
    Answer last = bench.service().save_async(refusing(3, milliseconds(600'000)));
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

// ---- identical saves ----

TEST_F(GroupCommit, ASaveIdenticalToOneInFlightSharesItsSuccess) {
    bench.hold_up();
    Answer first = bench.service().save_async(make_step("run", 1));
    Answer second = bench.in_background(make_step("run", 1));
    Answer third = bench.service().save_async(make_step("run", 1));
    ASSERT_EQ(third.wait_for(milliseconds(0)), std::future_status::timeout) << "nothing is on disk yet";
    bench.let_go();
    const Receipt written = first.get().value();
    for (Answer* answer : {&second, &third}) {
        const Receipt shared = answer->get().value();
        EXPECT_EQ(shared.snapshot_id, written.snapshot_id);
        EXPECT_EQ(shared.outcome, Outcome::kDeduplicated);
        EXPECT_EQ(shared.durability, kSync);
    }
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_F(GroupCommit, ASaveIdenticalToOneInFlightSharesItsFailure) {
    bench.hold_up();
    Answer first = bench.service().save_async(make_step("run", 1));
    Answer second = bench.service().save_async(make_step("run", 1));
    bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
    bench.gate.open();
    EXPECT_EQ(code_of(first.get()), ErrorCode::kStorageFull);
    EXPECT_EQ(code_of(second.get()), ErrorCode::kStorageFull);
    bench.store->heal();
    const Receipt again = bench.service().save_agent_state(make_step("run", 1)).value();
    EXPECT_NE(again.outcome, Outcome::kDeduplicated) << "a failed save is not remembered as saved";
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

/// A store that applies the batch of run "run", answers that the outcome is unknown, and refuses every later commit.
class UndecidedStore final : public ForwardingStore {
public:
    UndecidedStore() : ForwardingStore(make_memory_store()) {}

    std::size_t commits_at_once() const noexcept override { return 1; }
    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        gate.pass(batches);
        if (is_down_) return fail(ErrorCode::kUnavailable, "down");
        auto answers = ForwardingStore::commit(batches, deadline);
        for (std::size_t i = 0; i < batches.size(); ++i) {
            if (batches[i].run_id != "run") continue;
            (*answers)[i] = fail(ErrorCode::kOutcomeUnknown, "the answer was lost");
            is_down_ = true;
        }
        return answers;
    }

    Gate gate;

private:
    std::atomic<bool> is_down_ = false;
};

TEST(GroupCommitOfRuns, AnUnknownOutcomeOfOneRunIsThatOfEachOfItsSaves) {
    const auto store = std::make_shared<UndecidedStore>();
    OptimizedStatePersistence service(store, {});
    const auto in_background = [&](const char* run, int step) {
        return std::async(std::launch::async, [&service, request = make_step(run, step, kSync)] {
            return service.save_agent_state(request);
        });
    };
    const auto becomes_queued = [&](std::size_t saves) {
        return eventually([&] { return service.get_cache_stats().queue_size >= saves; });
    };
    store->gate.close();
    auto blocker = in_background("blocker", 1);
    store->gate.await(1);
    auto first = in_background("run", 1);
    ASSERT_TRUE(becomes_queued(2));
    auto second = in_background("run", 2);
    ASSERT_TRUE(becomes_queued(3));
    store->gate.open();
    EXPECT_TRUE(blocker.get().has_value());
    for (auto* answer : {&first, &second}) {
        const Result<Receipt> receipt = answer->get();
        EXPECT_TRUE(receipt.has_value()) << "it was applied: " << receipt.error().to_string();
    }
    EXPECT_EQ(store->head("run", soon()).value()->version, 2);
}

TEST_F(GroupCommit, AnAcknowledgedTwinOfAFailedSaveIsToldAsLost) {
    bench.hold_up();
    Answer first = bench.service().save_async(make_step("run", 1, kSync));
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1, kAsync)).has_value());
    bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
    bench.gate.open();
    EXPECT_EQ(code_of(first.get()), ErrorCode::kStorageFull);
    EXPECT_EQ(code_of(bench.service().flush("run")), ErrorCode::kStorageFull) << "somebody was told that it is queued";
}

TEST_F(GroupCommit, AnAcknowledgedTwinDoesNotLeaveTheQueueWithAnImpatientCaller) {
    bench.hold_up();
    StatePersistenceRequest impatient = make_step("run", 1, kSync);
    impatient.timeout = milliseconds(50);
    Answer first = bench.in_background(impatient);
    ASSERT_TRUE(bench.becomes_queued(2));
    const auto twin = bench.service().save_agent_state(make_step("run", 1, kAsync));
    ASSERT_TRUE(twin.has_value());
    EXPECT_EQ(twin->outcome, Outcome::kQueued);
    wait_until_past(milliseconds(50));
    const auto answer = first.get();
    EXPECT_TRUE(answer || answer.error().code == ErrorCode::kOutcomeUnknown ||
                twin->snapshot_id != id_in(answer.error().message))
        << answer.error().to_string();
    bench.let_go();
    const Status flushed = bench.service().flush("run");
    ASSERT_TRUE(flushed) << flushed.error().to_string();
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1})) << "an acknowledged save is gone";
}

// "Nothing was applied" is true only if nothing will be applied later.
TEST_F(GroupCommit, ACallerThatLeavesASaveWhichAnEqualOneReliesOnIsToldThatItsOutcomeIsUnknown) {
    bench.hold_up();
    StatePersistenceRequest impatient = make_step("run", 1, kSync);
    impatient.timeout = milliseconds(300);
    Answer first = bench.in_background(impatient);
    ASSERT_TRUE(bench.becomes_queued(2));
    Answer second = bench.service().save_async(make_step("run", 1, kSync));
    const auto left = first.get();
    bench.let_go();
    const Receipt saved = second.get().value();
    const bool was_shared = saved.outcome == Outcome::kDeduplicated;  // on a very slow machine it may come too late
    EXPECT_EQ(code_of(left), was_shared ? ErrorCode::kOutcomeUnknown : ErrorCode::kUnavailable);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_F(GroupCommit, TheLastCallerThatLeavesTakesTheSaveAlong) {
    bench.hold_up();
    StatePersistenceRequest impatient = make_step("run", 1, kSync);
    std::vector<Answer> answers;
    for (const int timeout : {60, 100, 80}) {
        impatient.timeout = milliseconds(timeout);
        answers.push_back(bench.in_background(impatient));
    }
    std::map<ErrorCode, int> told;
    for (Answer& answer : answers) ++told[code_of(answer.get())];
    EXPECT_GE(told[ErrorCode::kUnavailable], 1);
    EXPECT_EQ(told[ErrorCode::kUnavailable] + told[ErrorCode::kOutcomeUnknown], 3);
    EXPECT_EQ(bench.service().get_cache_stats().queue_size, 1U) << "the one that is being committed";
    bench.let_go();
    ASSERT_TRUE(bench.service().flush_all().has_value());
    EXPECT_TRUE(bench.on_disk("run").empty());
}

TEST_F(GroupCommit, ACallerThatDoesNotWaitForAnEqualSaveInItsCommitHasSavedNothing) {
    bench.gate.close();
    Answer first = bench.in_background(make_step("run", 1, kSync));
    bench.gate.await(1);
    StatePersistenceRequest impatient = make_step("run", 1, kSync);
    impatient.timeout = milliseconds(20);
    EXPECT_EQ(code_of(bench.service().save_agent_state(impatient)), ErrorCode::kUnavailable);
    bench.gate.open();
    EXPECT_TRUE(first.get().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

// The same rule holds for a skip.
TEST_F(GroupCommit, AnEqualSaveWithAPhaseOfItsOwnSharesNoFate) {
    bench.hold_up();
    std::vector<Answer> answers;
    for (const AgentPhase& phase : {AgentPhase::kTriage, AgentPhase::kReporting, AgentPhase::kReporting}) {
        StatePersistenceRequest request = make_step("run", 1);
        request.agent_phase = phase;
        answers.push_back(bench.service().save_async(request));
    }
    StatePersistenceRequest complete = make_step("run", 1);
    complete.checkpoint_type = CheckpointType::kPipelineComplete;
    answers.push_back(bench.service().save_async(complete));
    answers.push_back(bench.service().save_async(complete));
    bench.let_go();
    std::vector<Outcome> outcomes;
    for (Answer& answer : answers) outcomes.push_back(answer.get().value().outcome);
    EXPECT_EQ(outcomes, (std::vector{Outcome::kPersisted, Outcome::kPersisted, Outcome::kDeduplicated,
                                     Outcome::kPersisted, Outcome::kDeduplicated}));
    std::vector<std::string> phases;
    const std::vector<SnapshotInfo> history = bench.inner->history({.run_id = "run"}, soon()).value();
    for (const SnapshotInfo& info : history) phases.emplace_back(info.agent_phase.name());
    EXPECT_EQ(phases, (std::vector<std::string>{"", "reporting", "triage"}));
}

// The id that a caller gives may be taken. That must not fail a save without an id.
TEST_F(GroupCommit, ASaveWithoutAnIdSharesNoFateWithOneThatHasItsOwn) {
    StatePersistenceService other(bench.inner);
    StatePersistenceRequest taken = make_step("run", 7);
    taken.snapshot_id = "mine";
    ASSERT_TRUE(other.save_agent_state(taken).has_value());
    bench.hold_up();
    taken.state_data = State::parse(step_text(1)).value();
    Answer refused = bench.service().save_async(taken);
    Answer saved = bench.service().save_async(make_step("run", 1));
    bench.let_go();
    EXPECT_EQ(code_of(refused.get()), ErrorCode::kAlreadyExists);
    expect_saved(saved, 2);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({7, 1}));
}

// One to three callers save every state at once, with short timeouts, on a slow store.
TEST_F(GroupCommit, ASaveThatEveryCallerWasToldIsNotAppliedIsNeverSeen) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    std::mt19937_64 random(first_seed);
    std::mt19937_64 slowness(first_seed + 1);
    bench.store->before_commit([&](std::span<const RunBatch>) {
        std::this_thread::sleep_for(milliseconds(slowness() % 12));
    });  // one at a time
    std::map<std::int64_t, std::vector<Answer>> answers;
    for (std::int64_t step = 1; step <= 300; ++step) {
        const std::size_t callers = 1 + random() % 3;
        for (std::size_t caller = 0; caller < callers; ++caller) {
            StatePersistenceRequest request = make_step("run", step, kSync);
            request.timeout = milliseconds(1 + random() % 30);
            answers[step].push_back(random() % 4 == 0 ? bench.service().save_async(request)
                                                      : bench.in_background(request));
        }
        if (random() % 4 == 0) std::this_thread::sleep_for(milliseconds(random() % 5));
    }
    std::map<std::int64_t, std::map<ErrorCode, int>> refused;
    std::map<std::int64_t, int> saved;
    for (auto& [step, told] : answers) {
        for (Answer& answer : told) {
            const Result<Receipt> result = answer.get();
            result ? ++saved[step] : ++refused[step][result.error().code];
        }
    }
    ASSERT_TRUE(bench.service().flush_all().has_value());
    const std::vector<std::string> found = bench.on_disk("run");
    for (const auto& [step, told] : answers) {
        const bool is_there = std::ranges::count(found, step_text(step)) > 0;
        const bool were_all_refused = refused[step][ErrorCode::kUnavailable] == static_cast<int>(told.size());
        EXPECT_FALSE(were_all_refused && is_there) << "step " << step;
        EXPECT_FALSE(saved[step] > 0 && !is_there) << "step " << step;
    }
    bench.store->before_commit(nullptr);
}

TEST_F(GroupCommit, OnlyTheRunsNewestSaveInFlightIsCompared) {
    bench.hold_up();
    std::vector<Answer> answers;
    for (const std::int64_t step : {1, 2, 1, 1}) answers.push_back(bench.service().save_async(make_step("run", step)));
    bench.let_go();
    for (std::size_t i = 0; i < 3; ++i) expect_saved(answers[i], static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(answers[3].get().value().outcome, Outcome::kDeduplicated);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 1}));
}

TEST_F(GroupCommit, AnotherWriterBetweenTwoIdenticalSavesIsNotLostBehindASkip) {
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1)).has_value());
    StatePersistenceService other(bench.inner);
    ASSERT_TRUE(other.save_agent_state(make_step("run", 2)).has_value());
    const Receipt again = bench.service().save_agent_state(make_step("run", 1)).value();
    EXPECT_EQ(again.outcome, Outcome::kPersisted);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 1}));
}

// A store whose first commit is applied at once, but answered late.
class SlowToAnswer : public ForwardingStore {
public:
    using ForwardingStore::ForwardingStore;

    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        Result<std::vector<Status>> status = next().commit(batches, deadline);
        if (!has_committed_.exchange(true)) {
            in_store.set_value();
            may_answer.get_future().wait();
        }
        return status;
    }

    std::promise<void> in_store;
    std::promise<void> may_answer;

private:
    std::atomic<bool> has_committed_ = false;
};

TEST_F(GroupCommit, AnotherWriterBehindACommitWithoutAnAnswerIsNotLostBehindAnEqualSave) {
    const auto slow = std::make_shared<SlowToAnswer>(bench.inner);
    OptimizedStatePersistence service(slow);
    Answer first = std::async(std::launch::async, [&] { return service.save_agent_state(make_step("run", 1)); });
    slow->in_store.get_future().wait();
    StatePersistenceService other(bench.inner);
    ASSERT_TRUE(other.save_agent_state(make_step("run", 2)).has_value());
    Answer again = std::async(std::launch::async, [&] { return service.save_agent_state(make_step("run", 1)); });
    again.wait_for(milliseconds(50));  // by then it has probably found the first one in flight
    slow->may_answer.set_value();
    EXPECT_EQ(first.get().value().version, 1);
    const Receipt saved = again.get().value();
    EXPECT_EQ(saved.outcome, Outcome::kPersisted);
    EXPECT_EQ(saved.version, 3);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 1}));
}

// The states are equal, but only one of the saves treats another writer's head as a conflict.
TEST_F(GroupCommit, ASaveThatMayConflictSharesNoFateWithOneThatIsRebased) {
    for (const bool is_strict_first : {true, false}) {
        const std::string run = is_strict_first ? "strict-first" : "strict-last";
        bench.hold_up();
        std::map<bool, Answer> answers;
        for (const bool is_strict : {is_strict_first, !is_strict_first}) {
            StatePersistenceRequest request = make_step(run, 1);
            if (is_strict) {
                request.on_conflict = OnConflict::kFail;
                request.expected_version = is_strict_first ? 0 : 1;
            }
            answers[is_strict] = bench.service().save_async(request);
        }
        ASSERT_TRUE(StatePersistenceService(bench.inner).save_agent_state(make_step(run, 7)).has_value());
        bench.let_go();
        EXPECT_TRUE(answers[false].get().has_value()) << run;
        EXPECT_EQ(code_of(answers[true].get()), ErrorCode::kConflict) << run;
        EXPECT_EQ(bench.on_disk(run), bench.steps({7, 1})) << run;
    }
}

// ---- limits of the queue ----

TEST_F(GroupCommit, AFullQueueMakesCallersWaitAndThenRefusesThem) {
    bench.options.queue_limits.saves_max = 4;
    bench.hold_up();
    std::int64_t accepted = 0;
    Result<Receipt> refused;
    for (std::int64_t step = 1; step <= 10 && refused; ++step) {
        StatePersistenceRequest request = make_step("run", step, kAsync);
        request.timeout = milliseconds(30);
        refused = bench.service().save_agent_state(request);
        accepted += refused ? 1 : 0;
    }
    EXPECT_EQ(code_of(refused), ErrorCode::kUnavailable);
    EXPECT_GE(accepted, 2) << "one run gets half of the places";
    EXPECT_LE(accepted, 4);
    EXPECT_LE(bench.service().get_cache_stats().queue_size, 4U);
    Answer patient = bench.in_background(make_step("run", 100, kAsync));
    bench.let_go();
    ASSERT_TRUE(patient.get().has_value()) << "it got the place that the commit made";
    ASSERT_TRUE(bench.service().flush("run").has_value());
    std::vector<std::string> expected;
    for (std::int64_t step = 1; step <= accepted; ++step) expected.push_back(step_text(step));
    expected.push_back(step_text(100));
    EXPECT_EQ(bench.on_disk("run"), expected) << "what was refused is not there";
}

TEST_F(GroupCommit, BytesAreLimitedToo) {
    bench.options.queue_limits.bytes_max = 10'000;
    bench.options.enable_compression = false;
    bench.hold_up();
    const auto large = [](std::int64_t step, std::size_t bytes) {
        StatePersistenceRequest request =
            make_request("run", fmt::format(R"({{"step":{},"filler":"{}"}})", step, std::string(bytes, 'x')));
        request.durability = kAsync;
        request.timeout = milliseconds(30);
        return request;
    };
    int accepted = 0;
    Result<Receipt> refused;
    for (std::int64_t step = 1; step <= 10 && refused; ++step) {
        refused = bench.service().save_agent_state(large(step, 1500));
        accepted += refused ? 1 : 0;
    }
    EXPECT_EQ(code_of(refused), ErrorCode::kUnavailable);
    EXPECT_GE(accepted, 1);
    EXPECT_LE(accepted, 6);
    EXPECT_LE(bench.service().get_cache_stats().queue_bytes, 10'000U);
    EXPECT_EQ(code_of(bench.service().save_agent_state(large(50, 50'000))), ErrorCode::kUnavailable)
        << "a larger one waits until the queue is empty";
    bench.let_go();
    ASSERT_TRUE(bench.service().flush("run").has_value());
    StatePersistenceRequest patient = large(51, 50'000);
    patient.timeout.reset();
    ASSERT_TRUE(bench.service().save_agent_state(patient).has_value());
    ASSERT_TRUE(bench.service().flush("run").has_value());
    EXPECT_EQ(bench.on_disk("run").size(), static_cast<std::size_t>(accepted) + 1);
}

TEST_F(GroupCommit, ARunWithAnOldSaveInTheQueueMayAddNothingMore) {
    bench.options.queue_limits.age_max = milliseconds(5);
    bench.hold_up();
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1, kAsync)).has_value());
    wait_until_past(milliseconds(5));
    StatePersistenceRequest late = make_step("run", 2, kAsync);
    late.timeout = milliseconds(30);
    EXPECT_EQ(code_of(bench.service().save_agent_state(late)), ErrorCode::kUnavailable);
    EXPECT_TRUE(bench.service().save_agent_state(make_step("another", 1, kAsync)).has_value());
    bench.let_go();
    ASSERT_TRUE(bench.service().flush_all().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
    late.timeout.reset();
    ASSERT_TRUE(bench.service().save_agent_state(late).has_value());
}

TEST_F(GroupCommit, OneRunGetsHalfOfThePlaces) {
    bench.options.queue_limits.saves_max = 20;
    bench.hold_up();
    StatePersistenceRequest request = make_step("busy", 0, kAsync);
    request.timeout = milliseconds(30);
    std::int64_t accepted = 0;
    for (Result<Receipt> receipt; receipt && accepted < 20; accepted += receipt ? 1 : 0) {
        request.state_data = State::parse(step_text(accepted + 1)).value();
        receipt = bench.service().save_agent_state(request);
    }
    EXPECT_GE(accepted, 9);
    EXPECT_LE(accepted, 10);
    EXPECT_TRUE(bench.service().save_agent_state(make_step("polite", 1, kAsync)).has_value());
    bench.let_go();
}

TEST_F(GroupCommit, SavesThatAreHeldDoNotAge) {
    bench.options.queue_limits.age_max = milliseconds(1);
    ASSERT_TRUE(bench.service().save_agent_state(make_step("held", 1, kExit)).has_value());
    wait_until_past(milliseconds(1));
    StatePersistenceRequest late = make_step("run", 1, kAsync);
    late.timeout = milliseconds(5'000);
    ASSERT_TRUE(bench.service().save_agent_state(late).has_value());
    ASSERT_TRUE(bench.service().flush("run").has_value());
    EXPECT_TRUE(bench.on_disk("held").empty());
}

TEST_F(GroupCommit, HeldSavesThatFillTheQueueAreReleased) {
    bench.options.queue_limits.saves_max = 4;
    bench.options.durability = kExit;
    for (std::int64_t step = 1; step <= 30; ++step) {
        ASSERT_TRUE(bench.service().save_agent_state(make_step(step % 2 == 0 ? "a" : "b", step)).has_value());
        EXPECT_LE(bench.service().get_cache_stats().queue_size, 4U);
    }
    EXPECT_GE(bench.on_disk("a").size() + bench.on_disk("b").size(), 26U);
    ASSERT_TRUE(bench.service().close().has_value());
    EXPECT_EQ(bench.on_disk("a").size() + bench.on_disk("b").size(), 30U);
}

TEST_F(GroupCommit, TheQueueNeverExceedsItsLimitsUnderLoad) {
    bench.options.queue_limits.saves_max = 8;
    auto& service = bench.service();
    std::vector<std::jthread> savers;
    std::atomic<int> failures = 0;
    for (std::size_t t = 0; t < 6; ++t) {
        savers.emplace_back([&, t] {
            for (std::int64_t step = 1; step <= 300; ++step) {
                failures += service.save_agent_state(make_step(name(t), step, Durability(step % 3))) ? 0 : 1;
                EXPECT_LE(service.get_cache_stats().queue_size, 8U);
            }
        });
    }
    savers.clear();
    EXPECT_EQ(failures, 0);
    ASSERT_TRUE(service.flush_all().has_value());
    for (std::size_t t = 0; t < 6; ++t) EXPECT_EQ(bench.on_disk(name(t)).size(), 300U);
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

// ---- save_async ----

TEST_F(GroupCommit, EveryOneOfThousandsInFlightIsToldOnce) {
    constexpr std::size_t kRuns = 50;
    constexpr std::int64_t kSteps = 100;
    std::vector<std::atomic<int>> told(kRuns * kSteps);
    bench.hold_up();
    for (std::int64_t step = 1; step <= kSteps; ++step) {
        for (std::size_t run = 0; run < kRuns; ++run) {
            bench.service().save_async(make_step(name(run), step), [&, run, step](const Result<Receipt>& receipt) {
                EXPECT_TRUE(receipt.has_value());
                EXPECT_EQ(receipt ? receipt->version : 0, step);
                ++told[run * kSteps + static_cast<std::size_t>(step - 1)];
            });
        }
    }
    bench.let_go();
    ASSERT_TRUE(bench.service().flush_all().has_value());
    ASSERT_TRUE(bench.service().close().has_value());
    for (const auto& times : told) EXPECT_EQ(times, 1);
    for (std::size_t run = 0; run < kRuns; ++run) EXPECT_EQ(bench.on_disk(name(run)).size(), std::size_t{kSteps});
}

TEST_F(GroupCommit, ACompletionSaysTheDurabilityThatWasAskedFor) {
    for (const Durability durability : {kSync, kAsync, kExit}) {
        const std::string run(to_string(durability));
        const Receipt receipt = bench.service().save_async(make_step(run, 1, durability)).get().value();
        EXPECT_EQ(receipt.durability, durability);
        EXPECT_EQ(receipt.outcome, durability == kSync ? Outcome::kPersisted : Outcome::kQueued);
        EXPECT_TRUE(durability != kSync || bench.on_disk(run) == bench.steps({1}));
        EXPECT_TRUE(durability != kExit || bench.on_disk(run).empty());
    }
    StatePersistenceRequest critical = make_step("critical", 1, kExit);
    critical.checkpoint_type = CheckpointType::kManual;
    EXPECT_EQ(bench.service().save_async(critical).get().value().durability, kSync);
    EXPECT_EQ(bench.on_disk("critical"), bench.steps({1}));
}

TEST_F(GroupCommit, ACompletionIsToldOfARefusalOnce) {
    std::atomic<int> told = 0;
    const auto count = [&](ErrorCode code) {
        return [&told, code](const Result<Receipt>& receipt) {
            EXPECT_EQ(code_of(receipt), code);
            ++told;
        };
    };
    const StatePersistenceRequest invalid = make_step("", 1);
    bench.service().save_async(invalid, count(ErrorCode::kInvalidArgument));
    StatePersistenceRequest strict = make_step("run", 1);
    strict.on_conflict = OnConflict::kFail;
    strict.expected_version = 7;
    bench.service().save_async(strict, count(ErrorCode::kConflict));
    ASSERT_TRUE(bench.service().flush_all().has_value());
    ASSERT_TRUE(bench.service().close().has_value());
    bench.service().save_async(make_step("run", 1), count(ErrorCode::kClosed));
    EXPECT_EQ(told, 3);
    EXPECT_TRUE(bench.on_disk("run").empty());
}

TEST_F(GroupCommit, AnExceptionOfACompletionReachesNobody) {
    auto& service = bench.service();
    const auto throwing = [](const Result<Receipt>&) { throw std::runtime_error("of the test"); };
    EXPECT_NO_THROW(service.save_async(make_step("", 1), throwing));
    EXPECT_NO_THROW(service.save_async(make_step("run", 1), throwing));
    EXPECT_TRUE(service.flush_all().has_value());
    EXPECT_NO_THROW(service.save_async(make_step("run", 1), throwing)) << "a skip is told at once";
    EXPECT_TRUE(service.close().has_value());
    EXPECT_NO_THROW(service.save_async(make_step("run", 2), throwing));
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_F(GroupCommit, CloseTellsEveryoneBeforeItReturns) {
    std::atomic<int> told = 0;
    bench.hold_up();
    for (std::int64_t step = 1; step <= 100; ++step) {
        bench.service().save_async(make_step("run", step), [&](const Result<Receipt>&) { ++told; });
    }
    const std::jthread closer([&] {
        EXPECT_TRUE(bench.service().close().has_value());
        EXPECT_EQ(told, 100);
    });
    bench.let_go();
}

TEST_F(GroupCommit, CloseWaitsForCompletionsThatAnotherThreadTells) {
    bench.hold_up();
    Answer leader = bench.in_background(make_step("leader", 1, kSync));
    ASSERT_TRUE(bench.becomes_queued(2));
    std::promise<void> may_end;
    std::atomic<bool> is_told = false;
    bench.service().save_async(make_step("run", 1), [&](const Result<Receipt>&) {
        may_end.get_future().wait();
        is_told = true;
    });
    bench.let_go();
    auto closer = std::async(std::launch::async, [&] {
        EXPECT_TRUE(bench.service().close().has_value());
        return is_told.load();
    });
    wait_until_past(milliseconds(20));  // for one that is over too early
    may_end.set_value();
    EXPECT_TRUE(closer.get()) << "the service may be destroyed after close, and a completion still runs";
    EXPECT_TRUE(leader.get().has_value());
}

TEST_F(GroupCommit, CloseWaitsForASaveThatFellBack) {
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 1)).has_value());
    bench.gate.close();
    bench.service().clear_cache();  // so that the service asks for the head
    bench.store->inject({.call = StoreCall::kHead, .code = ErrorCode::kInternal});
    Answer fallen_back = bench.in_background(make_step("run", 2));
    bench.gate.await(1);
    auto closer = std::async(std::launch::async, [&] {
        EXPECT_TRUE(bench.service().close().has_value());
        return bench.on_disk("run");
    });
    wait_until_past(milliseconds(20));  // for one that is over too early
    bench.gate.open();
    EXPECT_EQ(closer.get(), bench.steps({1, 2}));
    EXPECT_EQ(fallen_back.get().value().outcome, Outcome::kFallback);
}

TEST_F(GroupCommit, TheDestructorTellsEveryoneBeforeItReturns) {
    std::atomic<int> told = 0;
    for (std::int64_t step = 1; step <= 1000; ++step) {
        bench.service().save_async(make_step(name(static_cast<std::size_t>(step % 7)), step),
                                   [&](const Result<Receipt>& receipt) { told += receipt ? 1 : 0; });
    }
    bench.destroy_service();
    EXPECT_EQ(told, 1000);
}

TEST_F(GroupCommit, ACompletionMayCallTheService) {
    auto& service = bench.service();
    std::promise<void> all_done;
    service.save_async(make_step("run", 1), [&](const Result<Receipt>& first) {
        EXPECT_TRUE(first.has_value());
        EXPECT_TRUE(service.save_agent_state(make_step("run", 2, kSync)).has_value());
        EXPECT_TRUE(service.save_agent_state(make_step("run", 3, kExit)).has_value());
        EXPECT_EQ(service.load_agent_state({.run_id = "run"}).value().info.version, 3);
        EXPECT_TRUE(service.flush("run").has_value());
        EXPECT_TRUE(service.flush_all().has_value());
        EXPECT_TRUE(service.get_thread_context("thread").has_value());
        EXPECT_TRUE(service.recover_agent_state({.run_id = "run"}).has_value());
        StatePersistenceRequest critical = make_step("run", 4);
        critical.checkpoint_type = CheckpointType::kManual;
        EXPECT_TRUE(service.save_agent_state(critical).has_value());
        EXPECT_GT(service.get_cache_stats().saves_by_outcome.size(), 0U);
        service.save_async(make_step("run", 5), [&](const Result<Receipt>& last) {
            EXPECT_TRUE(last.has_value());
            all_done.set_value();
        });
    });
    EXPECT_EQ(all_done.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready) << "it hangs";
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 3, 4, 5}));
}

// A call that holds its run's lane may have to lead a commit. It must not call completions then: a completion that
// saves into that run would wait for the very thread that calls it.
class CompletionIntoItsRun : public GroupCommit {
protected:
    // Queues a save of "run" while the store is busy. Its completion saves the next step.
    void queue_one_that_saves_again() {
        bench.options.timeout = std::chrono::seconds(30);
        auto& service = bench.service();
        bench.hold_up();
        service.save_async(make_step("run", 1), [&](const Result<Receipt>& first) {
            EXPECT_TRUE(first.has_value());
            const Result<Receipt> second = service.save_agent_state(make_step("run", 2, kSync));
            EXPECT_TRUE(second.has_value()) << second.error().to_string();
            told.set_value();
        });
        ASSERT_TRUE(bench.becomes_queued(2));
    }
    void expect_told_soon() {
        EXPECT_EQ(told.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready) << "it hangs";
    }

    std::promise<void> told;
};

TEST_F(CompletionIntoItsRun, IsToldWhileAForkOfTheRunIsSaved) {
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 0)).has_value());
    const std::string parent = bench.service().load_agent_state({.run_id = "run"}).value().info.snapshot_id;
    queue_one_that_saves_again();
    StatePersistenceRequest fork = make_step("run", 9, kSync);
    fork.parent_snapshot_id = parent;
    Answer answer = bench.in_background(fork);
    wait_until_past(milliseconds(50));  // until it waits in the run's lane
    bench.let_go();
    expect_told_soon();
    EXPECT_TRUE(answer.get().has_value());
}

TEST_F(CompletionIntoItsRun, IsToldWhileTheRunIsRecovered) {
    ASSERT_TRUE(bench.service().save_agent_state(make_step("run", 0)).has_value());
    queue_one_that_saves_again();
    auto recovered = std::async(std::launch::async, [&] {
        return bench.service().recover_agent_state({.run_id = "run", .recovery_type = RecoveryType::kRestart});
    });
    wait_until_past(milliseconds(50));
    bench.let_go();
    expect_told_soon();
    EXPECT_TRUE(recovered.get().has_value());
}

TEST_F(CompletionIntoItsRun, IsToldWhileASaveOfTheRunWaitsForAPlace) {
    bench.options.queue_limits.saves_max = 2;
    queue_one_that_saves_again();
    Answer answer = bench.in_background(make_step("run", 9, kSync));
    wait_until_past(milliseconds(50));
    bench.let_go();
    expect_told_soon();
    EXPECT_TRUE(answer.get().has_value());
}

// Many agents, without a thread each. An agent saves its next step when the last one is stored.
TEST_F(GroupCommit, ChainsOfCompletionsCarryOnByThemselves) {
    constexpr std::size_t kRuns = 64;
    constexpr std::int64_t kSteps = 60;
    auto& service = bench.service();
    std::atomic<std::size_t> finished = 0;
    std::function<void(std::size_t, std::int64_t)> go = [&](std::size_t run, std::int64_t step) {
        service.save_async(make_step(name(run), step), [&, run, step](const Result<Receipt>& receipt) {
            EXPECT_TRUE(receipt.has_value());
            if (step == kSteps) {
                ++finished;
            } else {
                go(run, step + 1);
            }
        });
    };
    for (std::size_t run = 0; run < kRuns; ++run) go(run, 1);
    EXPECT_TRUE(eventually([&] { return finished == kRuns; }));
    for (std::size_t run = 0; run < kRuns; ++run) EXPECT_EQ(bench.on_disk(name(run)).size(), std::size_t{kSteps});
}

// A completion that makes a blocking save leads a commit, and with its own save commits those of others. Their
// completions do the same.
TEST_F(GroupCommit, CompletionsThatSaveAreNotToldOneInsideTheOther) {
    constexpr std::size_t kSaves = 200;
    bench.options.batch_limits.saves_max = 1;
    auto& service = bench.service();
    std::atomic<std::size_t> told = 0;
    std::atomic<int> deepest = 0;
    bench.hold_up();
    for (std::size_t run = 0; run < kSaves; ++run) {
        service.save_async(make_step(name(run), 1), [&, run](const Result<Receipt>& receipt) {
            static thread_local int depth = 0;
            ++depth;
            deepest = std::max(deepest.load(), depth);
            EXPECT_TRUE(receipt.has_value());
            EXPECT_TRUE(service.save_agent_state(make_step(fmt::format("then-{}", run), 1, kSync)).has_value());
            --depth;
            ++told;
        });
    }
    bench.let_go();
    EXPECT_TRUE(eventually([&] { return told == kSaves; }));
    EXPECT_EQ(deepest, 1);
}

TEST_F(GroupCommit, AFullQueueIsWaitedForBySaveAsyncToo) {
    bench.options.queue_limits.saves_max = 4;
    bench.hold_up();
    std::vector<Answer> answers;
    StatePersistenceRequest request = make_step("run", 0);
    request.timeout = milliseconds(30);
    for (std::int64_t step = 1; step <= 6; ++step) {
        request.state_data = State::parse(step_text(step)).value();
        answers.push_back(bench.service().save_async(request));
    }
    EXPECT_EQ(code_of(answers.back().get()), ErrorCode::kUnavailable) << "told while the store is still busy";
    bench.let_go();
}

}  // namespace
}  // namespace cairn::test
