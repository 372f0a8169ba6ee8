// Goal: the three durabilities, `flush` and `close` do what `cairn/persistence.h` says, in any order of calls. A loss
// is reported. Closing and forking are safe. Method: calls of the public service, over a memory store whose commits the
// test holds up and makes fail.

#include "persistence/save/lost_saves.h"
#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/queue_bench.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <gtest/gtest.h>

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <random>

// The sanitizers have their own heap.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAIRN_TEST_CAN_COUNT_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CAIRN_TEST_CAN_COUNT_MEMORY 0
#endif
#endif
#ifndef CAIRN_TEST_CAN_COUNT_MEMORY
#define CAIRN_TEST_CAN_COUNT_MEMORY 1
#endif

namespace cairn::test {
namespace {

using std::chrono::milliseconds;

constexpr Durability kSync = Durability::kSync;
constexpr Durability kAsync = Durability::kAsync;
constexpr Durability kExit = Durability::kExit;

class DurabilityTest : public testing::Test {
protected:
    Result<Receipt> save(const std::string& run, std::int64_t step, std::optional<Durability> durability = {}) {
        return bench.service().save_agent_state(make_step(run, step, durability));
    }
    void expect_queued(const Result<Receipt>& receipt, Durability durability, std::int64_t version) {
        ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
        EXPECT_EQ(receipt->outcome, Outcome::kQueued);
        EXPECT_EQ(receipt->durability, durability);
        EXPECT_EQ(receipt->version, version);
    }
    // Waits until every save that was to be committed is on disk. Held saves are not.
    void settle() { ASSERT_TRUE(save("another", ++settled_, kSync).has_value()); }

    QueueBench bench;

private:
    std::int64_t settled_ = 0;
};

// ---- receipts ----

TEST_F(DurabilityTest, SyncIsTheDefault) {
    const Receipt receipt = save("run", 1).value();
    EXPECT_EQ(receipt.durability, kSync);
    EXPECT_EQ(receipt.outcome, Outcome::kPersisted);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_F(DurabilityTest, AnAsyncSaveIsAcknowledgedWhileTheStoreIsBusy) {
    bench.hold_up();
    std::vector<Receipt> receipts;
    for (std::int64_t step = 1; step <= 3; ++step) {
        const auto receipt = save("run", step, kAsync);
        expect_queued(receipt, kAsync, step);
        receipts.push_back(receipt.value());
    }
    EXPECT_TRUE(bench.on_disk("run").empty());
    bench.let_go();
    ASSERT_TRUE(bench.service().flush("run").has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 3}));
    for (const Receipt& receipt : receipts) {
        const Snapshot stored = bench.inner->get("run", receipt.snapshot_id, soon()).value().value();
        EXPECT_EQ(stored.info.version, receipt.version);
    }
}

TEST_F(DurabilityTest, TheServicesDurabilityIsThatOfSavesThatDoNotSay) {
    bench.options.durability = kExit;
    expect_queued(save("run", 1), kExit, 1);
    const Receipt receipt = save("run", 2, kSync).value();
    EXPECT_EQ(receipt.durability, kSync);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2}));
}

TEST_F(DurabilityTest, AsyncSavesAreCommittedThoughNobodyWaits) {
    for (std::int64_t step = 1; step <= 5; ++step) ASSERT_TRUE(save("run", step, kAsync).has_value());
    EXPECT_TRUE(eventually([&] { return bench.on_disk("run").size() == 5; }));
    EXPECT_TRUE(eventually([&] { return bench.service().get_cache_stats().queue_size == 0; }));
    EXPECT_EQ(bench.service().get_cache_stats().queue_bytes, 0U);
}

TEST_F(DurabilityTest, ASkipOfAHeadOnDiskHasReachedSync) {
    const Receipt first = save("run", 1, kSync).value();
    for (const Durability wished : {kAsync, kExit}) {
        const Receipt skip = save("run", 1, wished).value();
        EXPECT_EQ(skip.outcome, Outcome::kDeduplicated);
        EXPECT_EQ(skip.durability, kSync) << "reached, not wished for";
        EXPECT_EQ(skip.snapshot_id, first.snapshot_id);
    }
}

TEST_F(DurabilityTest, ASaveEqualToAQueuedOneIsOneWithIt) {
    const Receipt first = save("run", 1, kExit).value();
    const Receipt second = save("run", 1, kExit).value();
    EXPECT_EQ(second.snapshot_id, first.snapshot_id);
    EXPECT_EQ(second.durability, kExit) << "it is not on disk";
    EXPECT_TRUE(bench.on_disk("run").empty());
    const Receipt third = save("run", 1, kSync).value();
    EXPECT_EQ(third.snapshot_id, first.snapshot_id);
    EXPECT_EQ(third.durability, kSync);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1})) << "it was acknowledged as on disk";
}

// ---- exit ----

struct Release {
    std::string name;
    std::function<void(QueueBench&)> act;
    bool reads_the_run_only = true;
};

class ExitReleased : public testing::TestWithParam<Release> {};

TEST_P(ExitReleased, HeldSavesAreOnDiskAfterItAndNotBefore) {
    QueueBench bench;
    bench.options.durability = kExit;
    for (std::int64_t step = 1; step <= 3; ++step) {
        ASSERT_TRUE(bench.service().save_agent_state(make_step("run", step)).has_value());
    }
    ASSERT_TRUE(bench.service().save_agent_state(make_step("another", 1, kSync)).has_value());
    ASSERT_TRUE(bench.service().flush("another").has_value());
    EXPECT_TRUE(bench.on_disk("run").empty()) << "nobody has asked for them";
    GetParam().act(bench);
    auto found = bench.on_disk("run");
    ASSERT_GE(found.size(), 3U);
    found.resize(3);
    EXPECT_EQ(found, bench.steps({1, 2, 3}));
}

INSTANTIATE_TEST_SUITE_P(
    DurabilityTest, ExitReleased,
    testing::Values(
        Release{"Flush", [](QueueBench& bench) { EXPECT_TRUE(bench.service().flush("run").has_value()); }},
        Release{"FlushAll", [](QueueBench& bench) { EXPECT_TRUE(bench.service().flush_all().has_value()); }},
        Release{"Close", [](QueueBench& bench) { EXPECT_TRUE(bench.service().close().has_value()); }},
        Release{"Destructor", [](QueueBench& bench) { bench.destroy_service(); }},
        Release{"SyncSave",
                [](QueueBench& bench) {
                    EXPECT_EQ(bench.service().save_agent_state(make_step("run", 4, kSync)).value().version, 4);
                    EXPECT_EQ(bench.on_disk("run").size(), 4U);
                }},
        Release{"CriticalSave",
                [](QueueBench& bench) {
                    StatePersistenceRequest request =
                        make_step("run", 3, kExit);  // saved although it is equal to the newest
                    request.checkpoint_type = CheckpointType::kPhaseTransition;
                    const Receipt receipt = bench.service().save_agent_state(request).value();
                    EXPECT_EQ(receipt.outcome, Outcome::kPersisted);
                    EXPECT_EQ(receipt.durability, kSync);
                    EXPECT_EQ(receipt.version, 4);
                    const Snapshot stored = bench.inner->get("run", receipt.snapshot_id, soon()).value().value();
                    EXPECT_EQ(stored.info.base_version, 0);
                    EXPECT_EQ(stored.info.parent_version, 3);
                    EXPECT_EQ(bench.gate.batches().back().size(), 1U) << "a transaction of its own";
                }},
        Release{"Load",
                [](QueueBench& bench) {
                    const LoadedState loaded = bench.service().load_agent_state({.run_id = "run"}).value();
                    EXPECT_EQ(loaded.state.text(), step_text(3));
                    EXPECT_EQ(loaded.info.version, 3);
                }},
        Release{"Resume",
                [](QueueBench& bench) {
                    EXPECT_EQ(bench.service().recover_agent_state({.run_id = "run"}).value().state.text(),
                              step_text(3));
                }},
        Release{"Restart",
                [](QueueBench& bench) {
                    const auto recovered =
                        bench.service().recover_agent_state({.run_id = "run", .recovery_type = RecoveryType::kRestart});
                    EXPECT_EQ(recovered.value().state.text(), step_text(1));
                    EXPECT_EQ(recovered.value().version, 4);
                }},
        Release{"ThreadContext",
                [](QueueBench& bench) {
                    const ThreadContext context = bench.service().get_thread_context("thread").value();
                    EXPECT_EQ(context.newest_run_id, "another") << "by the times of their saves, not of their commits";
                    EXPECT_EQ(context.snapshots, 4U);
                }}),
    [](const auto& release) { return release.param.name; });

TEST_F(DurabilityTest, HeldSavesAreNotInTheFileBeforeAFlush) {
    const TempDir dir;
    const auto ours = open_sqlite_store(dir / "cairn.db").value();
    const auto theirs = open_sqlite_store(dir / "cairn.db").value();
    OptimizedStatePersistence service(ours, {});
    const Receipt receipt = service.save_agent_state(make_step("run", 1, kExit)).value();
    ASSERT_TRUE(service.save_agent_state(make_step("another", 1, kSync)).has_value());
    EXPECT_FALSE(theirs->head("run", soon()).value().has_value());
    ASSERT_TRUE(service.flush("run").has_value());
    EXPECT_EQ(theirs->head("run", soon()).value().value().snapshot_id, receipt.snapshot_id);
}

TEST_F(DurabilityTest, AFlushOfOneRunLeavesTheOthersHeld) {
    ASSERT_TRUE(save("a", 1, kExit).has_value());
    ASSERT_TRUE(save("b", 1, kExit).has_value());
    ASSERT_TRUE(bench.service().flush("a").has_value());
    settle();
    EXPECT_EQ(bench.on_disk("a"), bench.steps({1}));
    EXPECT_TRUE(bench.on_disk("b").empty());
}

TEST_F(DurabilityTest, AnAsyncSaveBehindHeldOnesReleasesThemOrWaits) {
    ASSERT_TRUE(save("run", 1, kExit).has_value());
    ASSERT_TRUE(save("run", 2, kAsync).has_value());
    ASSERT_TRUE(bench.service().flush("run").has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2})) << "in call order, whoever was held";
}

TEST_F(DurabilityTest, ALoadByIdSeesAQueuedSave) {
    const Receipt first = save("run", 1, kExit).value();
    ASSERT_TRUE(save("run", 2, kExit).has_value());
    const auto loaded = bench.service().load_agent_state({.run_id = "run", .snapshot_id = first.snapshot_id});
    EXPECT_EQ(loaded.value().state.text(), step_text(1));
}

TEST_F(DurabilityTest, ARollbackFindsAQueuedTarget) {
    const Receipt first = save("run", 1, kExit).value();
    ASSERT_TRUE(save("run", 2, kExit).has_value());
    const auto recovered = bench.service().recover_agent_state(
        {.run_id = "run", .recovery_type = RecoveryType::kRollback, .target_snapshot_id = first.snapshot_id});
    ASSERT_TRUE(recovered.has_value()) << recovered.error().to_string();
    EXPECT_EQ(recovered->state.text(), step_text(1));
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 1}));
    EXPECT_EQ(save("run", 3, kSync).value().version, 4);
}

TEST_F(DurabilityTest, AForkMayGrowFromAQueuedSave) {
    const Receipt first = save("run", 1, kExit).value();
    ASSERT_TRUE(save("run", 2, kExit).has_value());
    StatePersistenceRequest fork = make_step("run", 3, kExit);
    fork.parent_snapshot_id = first.snapshot_id;
    const auto receipt = bench.service().save_agent_state(fork);
    ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
    ASSERT_TRUE(bench.service().flush("run").has_value());
    EXPECT_EQ(bench.inner->get("run", receipt->snapshot_id, soon()).value().value().info.parent_version, 1);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 3}));
}

TEST_F(DurabilityTest, AQueuedSaveKeepsTheFieldsOfItsRequest) {
    StatePersistenceRequest request = make_step("run", 1, kExit);
    request.agent_phase = AgentPhase::kTriage;
    request.checkpoint_type = CheckpointType::kIntermediate;
    request.execution_context = State::parse(R"({"tool":"x"})").value();
    request.metadata = State::parse(R"({"label":1})").value();
    request.expires_at = kEpoch;
    request.snapshot_id = "mine";
    EXPECT_EQ(bench.service().save_agent_state(request).value().snapshot_id, "mine");
    const SnapshotInfo info = bench.service().load_agent_state({.run_id = "run"}).value().info;
    EXPECT_EQ(info.snapshot_id, "mine");
    EXPECT_EQ(info.agent_phase, AgentPhase::kTriage);
    EXPECT_EQ(info.checkpoint_type, CheckpointType::kIntermediate);
    EXPECT_EQ(info.execution_context, R"({"tool":"x"})");
    EXPECT_EQ(info.metadata, R"({"label":1})");
    EXPECT_EQ(info.expires_at, kEpoch);
}

// ---- order ----

TEST_F(DurabilityTest, ASyncSaveMakesTheAsyncOnesBeforeItDurable) {
    bench.hold_up();
    for (std::int64_t step = 1; step <= 3; ++step) ASSERT_TRUE(save("run", step, kAsync).has_value());
    auto last = bench.in_background(make_step("run", 4, kSync));
    bench.let_go();
    EXPECT_EQ(last.get().value().version, 4);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 3, 4}));
}

TEST_F(DurabilityTest, ACriticalSaveFindsTheQueueCommittedBeforeIt) {
    bench.hold_up();
    for (std::int64_t step = 1; step <= 3; ++step) ASSERT_TRUE(save("run", step, kAsync).has_value());
    StatePersistenceRequest critical = make_step("run", 4, kAsync);
    critical.is_recovery_point = true;
    auto last = bench.in_background(critical);
    bench.let_go();
    const Receipt receipt = last.get().value();
    EXPECT_EQ(receipt.version, 4);
    EXPECT_EQ(receipt.durability, kSync) << "critical is sync whatever the request says";
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 3, 4}));
}

TEST_F(DurabilityTest, OneRunsSavesTakeEffectInCallOrderWhateverTheirDurability) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    bench.options.queue_limits.saves_max = 40;
    bench.options.batch_limits.saves_max = 7;
    constexpr int kThreads = 6;
    constexpr std::int64_t kSteps = 200;
    auto& service = bench.service();
    std::atomic<int> failures = 0;
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            std::mt19937_64 random(first_seed + static_cast<std::uint64_t>(t));
            for (std::int64_t step = 1; step <= kSteps; ++step) {
                for (const std::string& run : {fmt::format("own-{}", t), std::string("shared")}) {
                    StatePersistenceRequest request = make_step(run, step * kThreads + t, Durability(random() % 3));
                    if (random() % 12 == 0) request.checkpoint_type = CheckpointType::kManual;
                    if (random() % 3 == 0) {
                        service.save_async(request,
                                           [&](const Result<Receipt>& receipt) { failures += receipt ? 0 : 1; });
                    } else {
                        failures += service.save_agent_state(request) ? 0 : 1;
                    }
                }
                if (random() % 20 == 0) failures += service.flush("shared") ? 0 : 1;
            }
        });
    }
    threads.clear();
    ASSERT_TRUE(service.flush_all().has_value());
    EXPECT_EQ(failures, 0);
    std::vector<std::vector<std::string>> of_thread(kThreads);
    for (const std::string& text : bench.on_disk("shared")) {
        const std::int64_t number = std::stoll(text.substr(text.find(':') + 1));
        of_thread[static_cast<std::size_t>(number % kThreads)].push_back(text);
    }
    for (int t = 0; t < kThreads; ++t) {
        std::vector<std::string> called;
        for (std::int64_t step = 1; step <= kSteps; ++step) called.push_back(step_text(step * kThreads + t));
        EXPECT_EQ(bench.on_disk(fmt::format("own-{}", t)), called);
        EXPECT_EQ(of_thread[static_cast<std::size_t>(t)], called);
    }
    EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
}

// ---- on_conflict = fail ----

TEST_F(DurabilityTest, AnExpectedVersionCountsTheQueuedSavesBeforeIt) {
    ASSERT_TRUE(save("run", 1, kExit).has_value());
    ASSERT_TRUE(save("run", 2, kExit).has_value());
    StatePersistenceRequest request = make_step("run", 3, kSync);
    request.on_conflict = OnConflict::kFail;
    request.expected_version = 1;
    EXPECT_EQ(code_of(bench.service().save_agent_state(request)), ErrorCode::kConflict);
    request.expected_version = 2;
    EXPECT_EQ(bench.service().save_agent_state(request).value().version, 3);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2, 3}));
}

TEST_F(DurabilityTest, TheServicesOwnQueuedSavesAreNoConflict) {
    StatePersistenceRequest request = make_step("run", 1, kExit);
    request.on_conflict = OnConflict::kFail;
    ASSERT_TRUE(bench.service().save_agent_state(request).has_value());
    request.state_data = State::parse(step_text(2)).value();
    request.durability = kSync;
    const auto receipt = bench.service().save_agent_state(request);
    ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2}));
}

TEST_F(DurabilityTest, AnotherWritersHeadFailsOnlyTheSaveThatAskedForIt) {
    ASSERT_TRUE(save("run", 1, kSync).has_value());
    ASSERT_TRUE(save("run", 2, kExit).has_value());
    StatePersistenceService other(bench.inner);
    ASSERT_TRUE(other.save_agent_state(make_step("run", 100)).has_value());
    StatePersistenceRequest strict = make_step("run", 3, kSync);
    strict.on_conflict = OnConflict::kFail;
    strict.expected_version = 2;
    EXPECT_EQ(code_of(bench.service().save_agent_state(strict)), ErrorCode::kConflict);
    ASSERT_TRUE(bench.service().flush("run").has_value()) << "the queued one is saved on top of the other's";
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 100, 2}));
}

// ---- losses ----

TEST_F(DurabilityTest, AFlushTellsOfALostSaveOnce) {
    ASSERT_TRUE(save("run", 1, kSync).has_value());
    bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
    ASSERT_TRUE(save("run", 2, kAsync).has_value());
    EXPECT_EQ(code_of(bench.service().flush("run")), ErrorCode::kStorageFull);
    EXPECT_TRUE(bench.service().flush("run").has_value()) << "told once";
    EXPECT_TRUE(bench.service().flush_all().has_value());
    EXPECT_TRUE(eventually([&] { return bench.service().get_cache_stats().lost == 1; }));
    bench.store->heal();
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
    const Receipt again = save("run", 2, kSync).value();
    EXPECT_NE(again.outcome, Outcome::kDeduplicated) << "a lost save is not remembered as saved";
    EXPECT_EQ(again.version, 2);
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2}));
    EXPECT_TRUE(bench.service().close().has_value());
}

TEST(LostSaves, AreToldToEveryFlushThatIsUnderWayAndToNoneThatBeginsLater) {
    LostSaves lost;
    const Error full{.code = ErrorCode::kStorageFull, .message = "full"};
    LostSaves::Flush first(lost, "run");
    LostSaves::Flush second(lost, "run");
    LostSaves::Flush other(lost, "other");
    LostSaves::Flush all(lost, std::nullopt);
    EXPECT_FALSE(first.take()) << "nothing is lost yet";
    lost.note("run", full);
    ASSERT_TRUE(second.take());
    LostSaves::Flush later(lost, "run");
    EXPECT_FALSE(later.take()) << "told already";
    ASSERT_TRUE(first.take());
    EXPECT_EQ(first.take()->code, ErrorCode::kStorageFull);
    EXPECT_TRUE(all.take());
    EXPECT_FALSE(other.take());
    lost.note("run", full);
    EXPECT_TRUE(later.take()) << "another loss";
}

TEST_F(DurabilityTest, AFlushOfAnotherRunDoesNotTellOfTheLoss) {
    bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
    ASSERT_TRUE(save("run", 1, kAsync).has_value());
    EXPECT_TRUE(eventually([&] { return bench.service().get_cache_stats().lost == 1; }));
    bench.store->heal();
    EXPECT_TRUE(bench.service().flush("another").has_value());
    EXPECT_EQ(code_of(bench.service().flush_all()), ErrorCode::kStorageFull);
    EXPECT_TRUE(bench.service().flush("run").has_value()) << "flush_all has told it";
}

TEST_F(DurabilityTest, CloseTellsOfALossThatNobodyHasAskedAbout) {
    bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
    ASSERT_TRUE(save("run", 1, kExit).has_value());
    EXPECT_EQ(code_of(bench.service().close()), ErrorCode::kStorageFull);
    EXPECT_TRUE(bench.service().close().has_value());
}

TEST_F(DurabilityTest, AfterALossTheNextSavesOfTheRunAreStored) {
    bench.store->inject({.code = ErrorCode::kStorageFull, .for_good = true});
    ASSERT_TRUE(save("run", 1, kAsync).has_value());
    EXPECT_TRUE(eventually([&] { return bench.service().get_cache_stats().lost == 1; }));
    bench.store->heal();
    EXPECT_EQ(save("run", 2, kSync).value().version, 1) << "the lost one has no version";
    EXPECT_EQ(bench.on_disk("run"), bench.steps({2}));
    EXPECT_TRUE(check_deep(*bench.inner, Deadline::max()).value().findings.empty());
}

TEST_F(DurabilityTest, AFlushPastItsDeadlineLeavesTheSavesQueued) {
    bench.hold_up();
    ASSERT_TRUE(save("run", 1, kAsync).has_value());
    EXPECT_EQ(code_of(bench.service().flush("run", milliseconds(20))), ErrorCode::kUnavailable);
    EXPECT_EQ(code_of(bench.service().flush_all(milliseconds(20))), ErrorCode::kUnavailable);
    bench.let_go();
    EXPECT_TRUE(bench.service().flush("run").has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_F(DurabilityTest, AFlushWithNothingToDoSucceeds) {
    EXPECT_TRUE(bench.service().flush("nobody").has_value());
    EXPECT_TRUE(bench.service().flush_all().has_value());
    StatePersistenceService standard(bench.store);
    EXPECT_TRUE(standard.flush("nobody").has_value());
    EXPECT_TRUE(standard.flush_all().has_value());
}

TEST_F(DurabilityTest, AnInvalidSaveIsRefusedAtOnceWhateverItsDurability) {
    for (const Durability durability : {kAsync, kExit}) {
        StatePersistenceRequest request = make_step("run", 1, durability);
        request.run_id = "a\nb";
        EXPECT_EQ(code_of(bench.service().save_agent_state(request)), ErrorCode::kInvalidArgument);
    }
    EXPECT_TRUE(bench.service().flush_all().has_value());
    EXPECT_EQ(bench.store->calls(StoreCall::kCommit), 0U);
}

TEST_F(DurabilityTest, ARunThatIsOnlyQueuedHasAnOwnerAlready) {
    ASSERT_TRUE(save("run", 1, kExit).has_value());
    StatePersistenceRequest intruder = make_step("run", 2, kSync);
    intruder.user_id = "intruder";
    EXPECT_EQ(code_of(bench.service().save_agent_state(intruder)), ErrorCode::kInvalidArgument);
    intruder.state_data = State::parse(step_text(1)).value();
    EXPECT_EQ(code_of(bench.service().save_agent_state(intruder)), ErrorCode::kInvalidArgument)
        << "equality is never tested across users";
    ASSERT_TRUE(bench.service().flush_all().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1}));
}

TEST_F(DurabilityTest, AnOwnIdThatIsQueuedIsTaken) {
    StatePersistenceRequest request = make_step("run", 1, kExit);
    request.snapshot_id = "mine";
    ASSERT_TRUE(bench.service().save_agent_state(request).has_value());
    ASSERT_TRUE(save("run", 2, kExit).has_value());
    request.durability = kSync;
    EXPECT_EQ(bench.service().save_agent_state(request).value().snapshot_id, "mine") << "the same save again";
    request.state_data = State::parse(step_text(3)).value();
    EXPECT_EQ(code_of(bench.service().save_agent_state(request)), ErrorCode::kAlreadyExists);
    ASSERT_TRUE(bench.service().flush_all().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1, 2}));
}

// ---- latest_only ----

class LatestOnly : public DurabilityTest {
protected:
    LatestOnly() {
        bench.options.latest_only = true;
        bench.options.durability = kExit;
    }
    void expect_on_disk(std::initializer_list<std::int64_t> steps) {
        ASSERT_TRUE(bench.service().flush_all().has_value());
        EXPECT_EQ(bench.on_disk("run"), bench.steps(steps));
    }
};

TEST_F(LatestOnly, OnlyTheNewestQueuedStateIsStoredUnderTheIdThatAllWereTold) {
    const Receipt first = save("run", 1).value();
    for (std::int64_t step = 2; step <= 5; ++step) {
        const Receipt receipt = save("run", step).value();
        EXPECT_EQ(receipt.snapshot_id, first.snapshot_id);
        EXPECT_EQ(receipt.version, 1);
        EXPECT_EQ(receipt.outcome, Outcome::kQueued);
    }
    expect_on_disk({5});
    EXPECT_EQ(bench.inner->head("run", soon()).value().value().snapshot_id, first.snapshot_id);
}

TEST_F(LatestOnly, IsOffByDefault) {
    QueueBench other;
    other.options.durability = kExit;
    for (std::int64_t step = 1; step <= 3; ++step) {
        ASSERT_TRUE(other.service().save_agent_state(make_step("run", step)).has_value());
    }
    ASSERT_TRUE(other.service().flush_all().has_value());
    EXPECT_EQ(other.on_disk("run"), other.steps({1, 2, 3}));
}

TEST_F(LatestOnly, RunsDoNotReplaceEachOther) {
    ASSERT_TRUE(save("run", 1).has_value());
    ASSERT_TRUE(save("other", 2).has_value());
    expect_on_disk({1});
    EXPECT_EQ(bench.on_disk("other"), bench.steps({2}));
}

TEST_F(LatestOnly, ASaveThatIsBeingCommittedIsNotReplaced) {
    bench.gate.close();
    ASSERT_TRUE(save("run", 1, kAsync).has_value());
    bench.gate.await(1);
    for (std::int64_t step = 2; step <= 4; ++step) ASSERT_TRUE(save("run", step, kAsync).has_value());
    bench.gate.open();
    expect_on_disk({1, 4});
}

TEST_F(LatestOnly, ACriticalSaveIsNeitherReplacedNorReplacing) {
    ASSERT_TRUE(save("run", 1).has_value());
    StatePersistenceRequest critical = make_step("run", 2);
    critical.checkpoint_type = CheckpointType::kManual;
    ASSERT_TRUE(bench.service().save_agent_state(critical).has_value());
    ASSERT_TRUE(save("run", 3).has_value());
    ASSERT_TRUE(save("run", 4).has_value());
    expect_on_disk({1, 2, 4});
}

TEST_F(LatestOnly, ASyncSaveDoesNotReplace) {
    ASSERT_TRUE(save("run", 1).has_value());
    ASSERT_TRUE(save("run", 2, kSync).has_value());
    expect_on_disk({1, 2});
}

TEST_F(LatestOnly, ASaveWithItsOwnIdMetadataOrParentIsNeitherReplacedNorReplacing) {
    const Receipt origin = save("run", 100, kSync).value();
    const std::vector<std::function<void(StatePersistenceRequest&)>> ways = {
        [](auto& request) { request.snapshot_id = "mine"; },
        [](auto& request) { request.metadata = State::parse(R"({"label":1})").value(); },
        [&](auto& request) { request.parent_snapshot_id = origin.snapshot_id; }};
    std::vector<std::string> expected = bench.steps({100});
    std::int64_t step = 0;
    for (const auto& mark : ways) {
        for (int i = 0; i < 2; ++i) ASSERT_TRUE(save("run", ++step).has_value());
        StatePersistenceRequest marked = make_step("run", ++step);
        mark(marked);
        ASSERT_TRUE(bench.service().save_agent_state(marked).has_value());
        for (int i = 0; i < 2; ++i) ASSERT_TRUE(save("run", ++step).has_value());
        ASSERT_TRUE(bench.service().flush_all().has_value());
        for (const std::int64_t kept : {step - 3, step - 2, step}) expected.push_back(step_text(kept));
        EXPECT_EQ(bench.on_disk("run"), expected);
    }
}

TEST_F(LatestOnly, AReplacementKeepsToTheLimitOfBytes) {
    bench.options.queue_limits.bytes_max = 30'000;  // one save: its state, its frame, the head before
    bench.options.enable_compression = false;
    const auto sized = [](const std::string& run, std::size_t bytes) {
        return make_request(run, fmt::format(R"({{"filler":"{}"}})", std::string(bytes, 'x')));
    };
    for (const std::size_t bytes : {100U, 2'000U, 6'000U, 9'000U}) {
        for (const std::string run : {"a", "b", "c"}) {
            ASSERT_TRUE(bench.service().save_agent_state(sized(run, bytes)).has_value());
            EXPECT_LE(bench.service().get_cache_stats().queue_bytes, 30'000U);
        }
    }
    ASSERT_TRUE(bench.service().flush_all().has_value());
    EXPECT_EQ(bench.on_disk("a").back(), sized("a", 9'000).state_data.text());
}

TEST_F(LatestOnly, ASaveThatOthersWaitForIsNotReplaced) {
    bench.hold_up();
    ASSERT_TRUE(save("run", 1, kAsync).has_value());
    auto twin = bench.service().save_async(make_step("run", 1, kSync));
    ASSERT_TRUE(save("run", 2, kAsync).has_value());
    bench.let_go();
    ASSERT_EQ(twin.wait_for(std::chrono::seconds(60)), std::future_status::ready) << "it is never told";
    const Receipt told = twin.get().value();
    StatePersistenceService reader(bench.inner);
    const auto loaded = reader.load_agent_state({.run_id = "run", .snapshot_id = told.snapshot_id});
    ASSERT_TRUE(loaded.has_value()) << loaded.error().to_string();
    EXPECT_EQ(loaded->state.text(), step_text(1)) << "it was told that this is on disk";
    expect_on_disk({1, 2});
}

TEST_F(LatestOnly, AnAsyncSaveInThePlaceOfAHeldOneIsNotHeld) {
    ASSERT_TRUE(save("run", 1, kExit).has_value());
    ASSERT_TRUE(save("run", 2, kAsync).has_value());
    EXPECT_TRUE(eventually([&] { return bench.on_disk("run") == bench.steps({2}); }));
}

// A flush that waits for a save that is replaced must wait for the save in its place. A round shows nothing if the
// flush has not begun to wait by then.
TEST_F(LatestOnly, AFlushDoesNotOversleepBecauseASaveIsReplaced) {
    for (std::int64_t round = 1; round <= 20; ++round) {
        bench.hold_up();
        ASSERT_TRUE(save("run", 2 * round, kAsync).has_value());
        std::atomic<bool> has_begun = false;
        auto flushed = std::async(std::launch::async, [&] {
            has_begun = true;
            return bench.service().flush("run", std::chrono::hours(1));
        });
        ASSERT_TRUE(eventually([&] { return has_begun.load(); }));
        for (int pause = 0; pause < 1000; ++pause) std::this_thread::yield();
        ASSERT_TRUE(save("run", 2 * round + 1, kAsync).has_value());
        bench.let_go();
        if (flushed.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
            std::cerr << "it sleeps until its deadline, in an hour\n";
            std::_Exit(EXIT_FAILURE);  // the future would wait for it
        }
        EXPECT_TRUE(flushed.get().has_value());
        EXPECT_EQ(bench.on_disk("run").back(), step_text(2 * round + 1));
    }
}

// ---- memory of queued saves ----

TEST_F(DurabilityTest, TheContextAndTheMetadataOfAQueuedSaveCount) {
    const auto filled = [](std::size_t bytes) {
        return State::parse(fmt::format(R"({{"filler":"{}"}})", std::string(bytes, 'x'))).value();
    };
    StatePersistenceRequest request = make_step("run", 1, kExit);
    request.execution_context = filled(10'000);
    request.metadata = filled(20'000);
    ASSERT_TRUE(bench.service().save_agent_state(request).has_value());
    EXPECT_GE(bench.service().get_cache_stats().queue_bytes, 30'000U);
}

#if CAIRN_TEST_CAN_COUNT_MEMORY
TEST_F(DurabilityTest, AQueuedSaveDoesNotKeepTheLargeHeadBeforeIt) {
    constexpr std::size_t kRuns = 50;
    constexpr std::size_t kHeadBytes = 1U << 20U;
    bench.options.cache_max_bytes = 2 * kHeadBytes;
    const auto used = [] {
        const struct mallinfo2 info = ::mallinfo2();
        return info.uordblks + info.hblkhd;
    };
    auto& service = bench.service();
    for (std::size_t run = 0; run < kRuns; ++run) {
        const std::string large = fmt::format(R"({{"filler":"{:x>{}}"}})", run, kHeadBytes);
        ASSERT_TRUE(StatePersistenceService(bench.inner)
                        .save_agent_state(make_request(fmt::format("run-{}", run), large))
                        .has_value());
    }
    const std::size_t before = used();
    for (std::size_t run = 0; run < kRuns; ++run) {
        ASSERT_TRUE(service.save_agent_state(make_step(fmt::format("run-{}", run), 1, kExit)).has_value());
    }
    const std::size_t after = used();
    const std::size_t bound = service.get_cache_stats().queue_bytes + service.get_cache_stats().cache_max_bytes;
    EXPECT_LE(after - std::min(before, after), 4 * bound) << "so much is neither in the queue nor in the cache";
}
#endif

// ---- close ----

TEST_F(DurabilityTest, AClosedServiceRefusesEveryCall) {
    const Receipt receipt = save("run", 1, kExit).value();
    ASSERT_TRUE(bench.service().close().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1})) << "close drains";
    StatePersistenceService standard(bench.store);
    ASSERT_TRUE(standard.close().has_value());
    for (StatePersistence* service : std::initializer_list<StatePersistence*>{&bench.service(), &standard}) {
        EXPECT_EQ(code_of(service->save_agent_state(make_step("run", 2))), ErrorCode::kClosed);
        EXPECT_EQ(code_of(service->load_agent_state({.run_id = "run"})), ErrorCode::kClosed);
        EXPECT_EQ(code_of(service->recover_agent_state({.run_id = "run"})), ErrorCode::kClosed);
        EXPECT_EQ(code_of(service->get_thread_context("thread")), ErrorCode::kClosed);
        EXPECT_EQ(code_of(service->flush("run")), ErrorCode::kClosed);
        EXPECT_EQ(code_of(service->flush_all()), ErrorCode::kClosed);
        EXPECT_TRUE(service->close().has_value()) << "a second close is harmless";
    }
    EXPECT_EQ(code_of(bench.service().save_async(make_step("run", 2)).get()), ErrorCode::kClosed);
    EXPECT_TRUE(bench.inner->head("run", soon()).value().has_value()) << "the store stays open";
}

TEST_F(DurabilityTest, CloseWaitsForSavesUnderWay) {
    bench.gate.close();
    auto save_under_way = bench.in_background(make_step("run", 1, kSync));
    bench.gate.await(1);
    std::atomic<bool> is_closed = false;
    const std::jthread closer([&] {
        EXPECT_TRUE(bench.service().close().has_value());
        EXPECT_EQ(bench.on_disk("run"), bench.steps({1})) << "close has not waited";
        is_closed = true;
    });
    EXPECT_TRUE(eventually([&] {
        const auto refused = bench.service().flush("another", milliseconds(1));
        return !refused && refused.error().code == ErrorCode::kClosed;
    })) << "new calls are refused while it waits";
    EXPECT_FALSE(is_closed);
    bench.gate.open();
    EXPECT_TRUE(save_under_way.get().has_value()) << "what was begun before is finished";
}

TEST_F(DurabilityTest, ASaveThatMeetsACloseIsStoredOrRefusedAndNothingElse) {
    constexpr int kThreads = 4;
    for (int round = 0; round < 20; ++round) {
        QueueBench other;
        other.options.durability = Durability(round % 3);
        auto& service = other.service();
        std::vector<std::vector<std::string>> accepted(kThreads);
        std::atomic<int> saved = 0;
        std::vector<std::jthread> savers;
        for (std::size_t t = 0; t < kThreads; ++t) {
            savers.emplace_back([&, t] {
                for (std::int64_t step = 1;; ++step) {
                    const auto receipt = service.save_agent_state(make_step(fmt::format("run-{}", t), step));
                    if (!receipt) {
                        EXPECT_EQ(receipt.error().code, ErrorCode::kClosed) << receipt.error().to_string();
                        return;
                    }
                    accepted[t].push_back(step_text(step));
                    ++saved;
                }
            });
        }
        EXPECT_TRUE(eventually([&] { return saved > 20; }));
        const std::jthread second_closer([&] { EXPECT_TRUE(service.close().has_value()); });
        EXPECT_TRUE(service.close().has_value());
        savers.clear();
        for (std::size_t t = 0; t < kThreads; ++t) {
            EXPECT_EQ(other.on_disk(fmt::format("run-{}", t)), accepted[t]);
        }
    }
}

// ---- fork ----

// The child has its own copy of the memory store, so any snapshot there was written by the child.
int use_inherited_service(QueueBench& bench) {
    OptimizedStatePersistence& service = bench.service();
    const auto is_closed = [](const auto& result) { return !result && result.error().code == ErrorCode::kClosed; };
    if (!is_closed(service.save_agent_state(make_step("run", 9, kSync)))) return 1;
    if (!is_closed(service.save_agent_state(make_step("run", 9, kExit)))) return 2;
    if (!is_closed(service.load_agent_state({.run_id = "run"}))) return 3;
    if (!is_closed(service.recover_agent_state({.run_id = "run"}))) return 4;
    if (!is_closed(service.get_thread_context("thread"))) return 5;
    if (!is_closed(service.flush("run"))) return 6;
    if (!is_closed(service.flush_all())) return 7;
    if (!is_closed(service.save_async(make_step("run", 9)).get())) return 8;
    if (!is_closed(service.close())) return 9;
    bench.destroy_service();
    return bench.inner->head("run", soon()).value() ? 10 : 0;
}

TEST_F(DurabilityTest, AForkedChildIsRefusedAndFlushesNothing) {
    ASSERT_TRUE(save("run", 1, kExit).has_value());
    settle();
    ChildProcess child([&](const Channel&) {
        ::alarm(60);  // a child that hangs is killed
        return use_inherited_service(bench);
    });
    EXPECT_EQ(child.wait(), 0);
    ASSERT_TRUE(bench.service().flush_all().has_value());
    EXPECT_EQ(bench.on_disk("run"), bench.steps({1})) << "the parent goes on";
}

int refuse_and_end(QueueBench& bench) {
    ::alarm(60);
    const auto refused = bench.service().save_agent_state(make_step("run", 1));
    if (refused || refused.error().code != ErrorCode::kClosed) return 1;
    bench.destroy_service();
    return 0;
}

// Each round has a new service for a few children, because the savers' snapshots make forking slow.
TEST(Durability, AChildForkedInTheMiddleOfSavesDoesNotHang) {
    for (int round = 0; round < 15; ++round) {
        QueueBench bench;
        auto& service = bench.service();
        std::atomic<bool> is_over = false;
        std::atomic<int> saved = 0;
        std::vector<std::jthread> savers;
        for (int t = 0; t < 3; ++t) {
            savers.emplace_back([&, t] {
                for (std::int64_t step = 1; !is_over; ++step, ++saved) {
                    const auto durability = Durability(step % 3);
                    EXPECT_TRUE(service.save_agent_state(make_step(fmt::format("busy-{}", t), step, durability)));
                }
            });
        }
        EXPECT_TRUE(eventually([&] { return saved > 30; }));
        for (int child_number = 0; child_number < 3; ++child_number) {
            ChildProcess child([&](const Channel&) { return refuse_and_end(bench); });
            EXPECT_EQ(child.wait(), 0) << "round " << round;
        }
        is_over = true;
    }
}

}  // namespace
}  // namespace cairn::test
