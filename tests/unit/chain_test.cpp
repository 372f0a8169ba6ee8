// Goal: the optimised service stores the changes only, within the limits of a chain and against the right base. Such
// states load exactly. Forks and labels are kept.
// Method: states that grow like an agent's, on the memory store. The test looks at the stored frames and their bases.

#include "persistence/reading/chain.h"

#include <cairn/faulty_store.h>
#include "store/memory/memory_store.h"
#include "support/make.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>

namespace cairn {
namespace {

using test::make_request;

std::string noise(std::uint64_t seed, std::size_t bytes) {
    std::mt19937_64 random(seed);
    std::string text(bytes, ' ');
    for (char& letter : text) letter = static_cast<char>('a' + random() % 26);
    return text;
}

/// Makes the state after `steps` steps: a counter in front, and one message for each step.
std::string grown(int steps) {
    std::string text = fmt::format(R"({{"step":{},"messages":[)", steps);
    for (int i = 0; i < steps; ++i)
        text += fmt::format("{}\"{}\"", i == 0 ? "" : ",", noise(static_cast<std::uint64_t>(7 + i), 300));
    return text + "]}";
}

/// Makes a state that always has ten messages. Each step replaces one of them.
std::string churned(int steps) {
    std::string text = R"({"messages":[)";
    for (int i = 0; i < 10; ++i) {
        const int written = steps - (steps - i + 1000) % 10;  // the step that last wrote this one
        text += fmt::format("{}\"{}\"", i == 0 ? "" : ",", noise(static_cast<std::uint64_t>(5000 + written), 300));
    }
    return text + "]}";
}

struct ChainBench {
    std::shared_ptr<Store> inner = make_memory_store();
    std::shared_ptr<FaultyStore> store = std::make_shared<FaultyStore>(inner);
    OptimizedOptions options;
    std::unique_ptr<OptimizedStatePersistence> service;

    explicit ChainBench(const ChainLimits& limits = {}) {
        options.runtime = test::make_runtime();
        options.chain_limits = limits;
        service = std::make_unique<OptimizedStatePersistence>(store, options);
    }
    Receipt save(std::string_view text, CheckpointType type = CheckpointType::kAuto) {
        return service->save_agent_state(make_request("run", text, std::move(type))).value();
    }
    Snapshot stored(const std::string& snapshot_id) {
        return inner->get("run", snapshot_id, test::soon()).value().value();
    }
    // Deletes the run and begins it anew with another state, as another process does.
    void make_anew(const std::string& snapshot_id) {
        ASSERT_TRUE(commit_run(*inner, {.run_id = "run", .run_deletion = RunDeletion{}}, test::soon()));
        StatePersistenceService other(inner, options);
        StatePersistenceRequest request = make_request("run", churned(100));
        request.snapshot_id = snapshot_id;
        ASSERT_TRUE(other.save_agent_state(request));
    }
    // Saves on top of the run that was made anew, and expects that nothing of the old run is needed.
    void expect_saved_on_the_new_run(std::string_view text) {
        const Receipt receipt = save(text);
        EXPECT_EQ(receipt.version, 2);
        EXPECT_EQ(load(receipt.snapshot_id), text);
    }
    std::string load(const std::string& snapshot_id) {
        return std::string(
            service->load_agent_state({.run_id = "run", .snapshot_id = snapshot_id}).value().state.text());
    }
};

TEST(Chain, ASaveStoresWhatChangedAndLoadsExactly) {
    ChainBench bench;
    std::vector<std::string> ids;
    for (int step = 1; step <= 40; ++step) {
        const Receipt receipt = bench.save(grown(step));
        EXPECT_LT(receipt.frame_bytes, step == 1 ? 400U : 350U) << step;
        ids.push_back(receipt.snapshot_id);
    }
    for (int step = 1; step <= 40; ++step) EXPECT_EQ(bench.load(ids[static_cast<std::size_t>(step - 1)]), grown(step));
    const Snapshot last = bench.stored(ids.back());
    EXPECT_EQ(last.info.base_version, 39);
    EXPECT_TRUE(needs_base(read_frame_header(last.frame).value().kind));
}

TEST(Chain, NoSnapshotNeedsMoreFramesThanTheLimit) {
    ChainBench bench({.frames_max = 5});
    std::size_t longest = 0;
    for (int step = 1; step <= 30; ++step) {
        const Receipt receipt = bench.save(grown(step));
        longest = std::max(longest, bench.stored(receipt.snapshot_id).bases.size() + 1);
    }
    EXPECT_EQ(longest, 5U);
}

TEST(Chain, NoChainOutweighsASelfContainedFrameByMoreThanTheLimit) {
    ChainBench bench({.bytes_percent_max = 200, .bytes_always = 0});
    int full_frames = 0;
    for (int step = 100; step < 160; ++step) {
        const Snapshot snapshot = bench.stored(bench.save(churned(step)).snapshot_id);
        EXPECT_EQ(bench.load(snapshot.info.snapshot_id), churned(step));
        full_frames += snapshot.bases.empty() ? 1 : 0;
        const ChainCost cost = chain_cost(snapshot).value();
        EXPECT_LE(cost.bytes, 2 * cost.full_frame_bytes + 100) << step;
    }
    EXPECT_GE(full_frames, 5);  // a step adds a tenth of a full frame
    EXPECT_LE(full_frames, 10);
}

TEST(Chain, AnUnrelatedStateIsStoredWhole) {
    ChainBench bench;
    bench.save(grown(5));
    const Receipt receipt = bench.save(R"({"other":")" + noise(99, 5000) + R"("})");
    EXPECT_EQ(bench.stored(receipt.snapshot_id).info.base_version, 0);
}

TEST(Chain, ACriticalSaveIsNeverADelta) {
    ChainBench bench;
    bench.save(grown(10));
    const Receipt critical = bench.save(grown(11), CheckpointType::kManual);
    EXPECT_EQ(bench.stored(critical.snapshot_id).info.base_version, 0);
    const Receipt after = bench.save(grown(12));
    EXPECT_EQ(bench.stored(after.snapshot_id).bases.size(), 1U);
}

TEST(Chain, AColdCacheEncodesAgainstTheHeadAsItIsStored) {
    ChainBench bench;
    bench.save(grown(10));
    bench.save(grown(11));
    bench.service->clear_cache();
    const Receipt receipt = bench.save(grown(12));
    EXPECT_EQ(bench.stored(receipt.snapshot_id).bases.size(), 2U);
    EXPECT_EQ(bench.load(receipt.snapshot_id), grown(12));
}

TEST(Chain, WithCompressionOffEveryFrameIsWholeAndPlain) {
    ChainBench bench;
    ASSERT_TRUE(bench.service->configure({.enable_compression = false}));
    bench.save(grown(10));
    const Receipt receipt = bench.save(grown(11));
    EXPECT_EQ(read_frame_header(bench.stored(receipt.snapshot_id).frame)->kind, FrameKind::kFullPlain);
}

TEST(Chain, ADamagedFrameSpoilsWhatNeedsItAndResumeFindsTheNewestThatDoesNot) {
    ChainBench bench;
    for (int step = 1; step <= 6; ++step) bench.save(grown(step + 10));
    // Make a copy of the run in which one bit of version 4's frame is flipped.
    auto copy = make_memory_store();
    const auto history =
        bench.inner->history({.run_id = "run", .order = HistoryQuery::Order::kOldestFirst}, test::soon()).value();
    for (const SnapshotInfo& info : history) {
        Snapshot snapshot = bench.stored(info.snapshot_id);
        snapshot.bases.clear();
        if (info.version == 4) snapshot.frame.back() = static_cast<char>(snapshot.frame.back() ^ 1);
        ASSERT_TRUE(commit_run(*copy, test::make_batch(std::move(snapshot)), test::soon()));
    }
    OptimizedStatePersistence service(copy, bench.options);
    EXPECT_EQ(service.load_agent_state({.run_id = "run"}).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(check_deep(*copy, Deadline::max()).value().findings.size(), 3U);
    const RecoveryResult result = service.recover_agent_state({.run_id = "run"}).value();
    EXPECT_EQ(result.state.text(), grown(13));
    EXPECT_EQ(result.damaged.size(), 3U);
    EXPECT_EQ(service.load_agent_state({.run_id = "run"}).value().state.text(), grown(13));
    // The next save does not need a damaged frame.
    ASSERT_TRUE(service.save_agent_state(make_request("run", grown(14))));
    EXPECT_EQ(service.load_agent_state({.run_id = "run"}).value().state.text(), grown(14));
}

TEST(Chain, ADamagedHeadIsNoBase) {
    ChainBench bench;
    Snapshot damaged = test::make_snapshot("run", 1, grown(10));
    damaged.frame.back() = static_cast<char>(damaged.frame.back() ^ 1);
    ASSERT_TRUE(commit_run(*bench.inner, test::make_batch(std::move(damaged)), test::soon()));
    const Receipt receipt = bench.save(grown(11));
    EXPECT_EQ(receipt.outcome, Outcome::kFallback);
    EXPECT_EQ(bench.load(receipt.snapshot_id), grown(11));
}

TEST(Fork, GrowsFromAnOlderSnapshotAndIsEncodedAgainstIt) {
    for (const bool is_optimised : {true, false}) {
        ChainBench bench;
        StatePersistenceService standard(bench.store, bench.options);
        StatePersistence& service = is_optimised ? static_cast<StatePersistence&>(*bench.service) : standard;
        const Receipt first = service.save_agent_state(make_request("run", grown(10))).value();
        ASSERT_TRUE(service.save_agent_state(make_request("run", grown(20))));
        StatePersistenceRequest request = make_request("run", grown(11));
        request.parent_snapshot_id = first.snapshot_id;
        const Receipt fork = service.save_agent_state(request).value();
        EXPECT_EQ(fork.version, 3);
        const Snapshot stored = bench.stored(fork.snapshot_id);
        EXPECT_EQ(stored.info.parent_version, 1);
        EXPECT_EQ(stored.info.base_version, is_optimised ? 1 : 0);
        EXPECT_EQ(bench.load(fork.snapshot_id), grown(11));
        EXPECT_EQ(service.load_agent_state({.run_id = "run"}).value().info.snapshot_id, fork.snapshot_id);
    }
}

TEST(Fork, IsNeverSkippedEvenIfItEqualsTheHead) {
    ChainBench bench;
    const Receipt first = bench.save(grown(10));
    const Receipt second = bench.save(grown(11));
    StatePersistenceRequest request = make_request("run", grown(11));
    request.parent_snapshot_id = first.snapshot_id;
    EXPECT_EQ(bench.service->save_agent_state(request).value().outcome, Outcome::kPersisted);
    // A save whose parent is the head is no fork.
    request.parent_snapshot_id = bench.inner->head("run", test::soon()).value()->snapshot_id;
    EXPECT_EQ(bench.service->save_agent_state(request).value().outcome, Outcome::kDeduplicated);
    EXPECT_NE(request.parent_snapshot_id, second.snapshot_id);
}

TEST(Fork, FromASnapshotThatIsNotThereIsNotFound) {
    ChainBench bench;
    StatePersistence& service = *bench.service;
    StatePersistenceRequest request = make_request("run");
    request.parent_snapshot_id = "nowhere";
    EXPECT_EQ(service.save_agent_state(request).error().code, ErrorCode::kNotFound);
    ASSERT_TRUE(service.save_agent_state(make_request("run")));
    EXPECT_EQ(service.save_agent_state(request).error().code, ErrorCode::kNotFound);
    request.checkpoint_type = CheckpointType::kManual;
    EXPECT_EQ(service.save_agent_state(request).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(bench.inner->head("run", test::soon()).value()->version, 1);
}

TEST(Fork, IsRefusedIfItsParentIsDeletedMeanwhile) {
    ChainBench bench;
    const Receipt first = bench.save(grown(10));
    bench.save(grown(20), CheckpointType::kManual);
    bool has_deleted = false;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        if (std::exchange(has_deleted, true)) return;
        RunBatch deletion{.run_id = "run"};
        deletion.deletions.push_back({.version = 1});
        ASSERT_TRUE(commit_run(*bench.inner, deletion, test::soon()));
    });
    StatePersistenceRequest request = make_request("run", grown(11));
    request.parent_snapshot_id = first.snapshot_id;
    const Result<Receipt> receipt = bench.service->save_agent_state(request);
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, ErrorCode::kNotFound);  // the fallback finds that the parent is gone
    EXPECT_EQ(bench.load(bench.inner->head("run", test::soon()).value()->snapshot_id), grown(20));
}

TEST(Chain, ARunDeletedAndMadeAnewMeanwhileIsNoBase) {
    ChainBench bench;
    bench.save(grown(10));
    bool has_struck = false;
    bench.store->before_commit([&](std::span<const RunBatch>) {
        if (!std::exchange(has_struck, true)) bench.make_anew("made-anew");
    });
    bench.expect_saved_on_the_new_run(grown(11));
}

// Callers that name snapshots by their steps give the same ids to a run that is begun again.
TEST(Chain, ARunMadeAnewWithTheSameIdsIsNoBaseEither) {
    ChainBench bench;
    StatePersistenceRequest first = make_request("run", grown(10));
    first.snapshot_id = "step-1";
    ASSERT_TRUE(bench.service->save_agent_state(first));
    bench.make_anew("step-1");
    bench.expect_saved_on_the_new_run(grown(11));
}

TEST(Metadata, IsStoredFilteredByAndNeverLostToASkip) {
    ChainBench bench;
    StatePersistenceRequest request = make_request("run");
    request.metadata = State::parse(R"({"region":"eu","step":1})").value();
    ASSERT_TRUE(bench.service->save_agent_state(request));
    request.metadata = State::parse(R"({"region":"us","step":2})").value();
    EXPECT_EQ(bench.service->save_agent_state(request).value().outcome, Outcome::kPersisted);
    request.metadata.reset();
    EXPECT_EQ(bench.service->save_agent_state(request).value().outcome, Outcome::kDeduplicated);
    const auto europe =
        bench.inner->history({.run_id = "run", .metadata = {{"region", R"("eu")"}}}, test::soon()).value();
    ASSERT_EQ(europe.size(), 1U);
    EXPECT_EQ(europe[0].version, 1);
    EXPECT_EQ(europe[0].metadata, R"({"region":"eu","step":1})");
}

}  // namespace
}  // namespace cairn
