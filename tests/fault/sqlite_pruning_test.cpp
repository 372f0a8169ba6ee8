// Goal: a prune that is cut short anywhere leaves every remaining snapshot readable. It really gives space back, leaves
// only the traces in the file that the schema describes, and rows stay small.
// Method: a prune of rewrites and deletions is killed before each change that it would make to a file, and at random.
// Then the chains are read and the store is checked. Damage is made through the engine.

#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/seed.h"
#include "support/step_killer.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

// Makes a frame of two kilobytes that tells its version and its base.
std::string frame_of(std::int64_t version, std::int64_t base_version) {
    return fmt::format("{} on {} {}", version, base_version, std::string(2000, 'x'));
}

Snapshot make_delta(std::int64_t version, std::int64_t base_version) {
    Snapshot snapshot = make_snapshot("run", version);
    snapshot.info.base_version = base_version;
    snapshot.frame = frame_of(version, base_version);
    return snapshot;
}

// Commits versions 1 to `last` of "run", each with the one before as its base.
void fill(Store& store, std::int64_t last) {
    RunBatch batch{.run_id = "run"};
    for (std::int64_t version = 1; version <= last; ++version) {
        batch.writes.push_back(make_write(make_delta(version, version - 1)));
    }
    ASSERT_TRUE(commit_run(store, batch, soon()).has_value());
}

// Makes a batch that deletes `count` versions from `oldest` on, and makes the next one self-contained.
RunBatch make_prune(std::int64_t oldest, std::int64_t count) {
    RunBatch batch{.run_id = "run"};
    batch.rewrites.push_back({.version = oldest + count, .frame = frame_of(oldest + count, 0)});
    for (std::int64_t version = oldest; version < oldest + count; ++version) {
        batch.deletions.push_back({.version = version});
    }
    return batch;
}

// Returns the number of snapshots of "run". Expects that each has a whole chain, and that the store is sound.
std::size_t count_readable(Store& store) {
    const auto history = store.history({.run_id = "run", .limit = 1000}, soon()).value();
    for (const SnapshotInfo& info : history) {
        const auto snapshot = store.get("run", info.snapshot_id, soon());
        EXPECT_TRUE(snapshot.has_value()) << snapshot.error().to_string();
        if (!snapshot) continue;
        std::int64_t needed = 0;
        for (const BaseFrame& base : (*snapshot)->bases) {
            EXPECT_EQ(base.base_version, needed);
            EXPECT_EQ(base.frame, frame_of(base.version, needed));
            needed = base.version;
        }
        EXPECT_EQ((*snapshot)->info.base_version, needed);
        EXPECT_EQ((*snapshot)->frame, frame_of(info.version, needed));
    }
    const CheckReport report = store.check(soon()).value();
    for (const auto& finding : report.findings) ADD_FAILURE() << finding.snapshot_id << ": " << finding.problem;
    return history.size();
}

constexpr std::int64_t kVersions = 13;
constexpr std::int64_t kPrunedAtOnce = 4;

bool prune_all(const fs::path& path) {
    const auto store = open_sqlite_store(path);
    if (!store) return false;
    for (std::int64_t oldest = 1; oldest + kPrunedAtOnce <= kVersions; oldest += kPrunedAtOnce) {
        if (!commit_run(**store, make_prune(oldest, kPrunedAtOnce), soon())) return false;
    }
    if (!commit_run(**store, {.run_id = "doomed", .run_deletion = RunDeletion{}}, soon())) return false;
    if (!(*store)->reclaim(soon())) return false;
    return (*store)->close().has_value();
}

TEST(SqlitePruning, KilledAtAnyStepItLeavesEverySnapshotReadable) {
    const TempDir origin;
    {
        const auto store = open_sqlite_store(origin / "cairn.db").value();
        fill(*store, kVersions);
        ASSERT_TRUE(
            commit_run(*store, make_batch(make_snapshot("doomed", 1, std::string(50'000, 'x'))), soon()).has_value());
    }
    int steps = 0;
    std::size_t fewest = kVersions;
    for (bool was_killed = true; was_killed; ++steps) {
        SCOPED_TRACE(fmt::format("killed at step {}", steps));
        const TempDir dir;
        fs::copy(origin / "cairn.db", dir / "cairn.db");
        was_killed = is_killed_at(steps, [&] { return prune_all(dir / "cairn.db"); });
        const auto store = open_sqlite_store(dir / "cairn.db", {.create = false});
        ASSERT_TRUE(store.has_value()) << store.error().to_string();
        const std::size_t left = count_readable(**store);
        ASSERT_EQ((kVersions - left) % kPrunedAtOnce, 0U) << "a batch was applied in part: " << left << " are left";
        ASSERT_LE(left, fewest) << "a commit that a shorter life had made is gone";
        fewest = left;
        ASSERT_TRUE(commit_run(**store, make_batch(make_delta(kVersions + 1, kVersions)), soon()).has_value());
        ASSERT_TRUE((*store)->reclaim(soon()).has_value());
        ASSERT_EQ(count_readable(**store), left + 1);
    }
    EXPECT_EQ(fewest, 1U);
    EXPECT_GT(steps, 40) << "fewer than a prune has: nothing was tested";
}

TEST(SqlitePruning, KilledAtRandomItLeavesEverySnapshotReadable) {
    const std::uint64_t seed = test::seed();
    SCOPED_TRACE(replay_line(seed));
    std::mt19937_64 random(seed);
    const TempDir dir;
    std::int64_t rounds_with_pruning = 0;
    for (int round = 0; round < 12; ++round) {
        ChildProcess child([&](const Channel& parent) {
            const auto store = open_sqlite_store(dir / "cairn.db").value();
            const auto history = store->history({.run_id = "run", .limit = 1000}, soon()).value();
            std::int64_t head = history.empty() ? 0 : history.front().version;
            std::int64_t oldest = history.empty() ? 1 : history.back().version;
            while (true) {
                ++head;
                const std::int64_t base = head == oldest ? 0 : head - 1;
                if (!commit_run(*store, make_batch(make_delta(head, base)), soon())) return 1;
                if (head - oldest < 8) continue;
                if (!commit_run(*store, make_prune(oldest, 3), soon())) return 2;
                oldest += 3;
                if (head % 2 == 0 && !store->reclaim(soon())) return 3;
                parent.say(head);
            }
        });
        for (auto n = 1 + random() % 12; n > 0; --n) ASSERT_TRUE(child.channel().hear().has_value());
        EXPECT_EQ(child.kill(), -SIGKILL);
        const auto store = open_sqlite_store(dir / "cairn.db", {.create = false}).value();
        const std::size_t left = count_readable(*store);
        EXPECT_GE(left, 5U);
        EXPECT_LE(left, 9U);
        ++rounds_with_pruning;
        ASSERT_TRUE(store->close().has_value());
    }
    EXPECT_EQ(rounds_with_pruning, 12);
}

// ---- space ----

TEST(SqlitePruning, SpaceGoesBackToTheFileSystemWhileOthersWrite) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    const auto other = open_sqlite_store(dir / "cairn.db").value();
    for (std::int64_t version = 1; version <= 30; ++version) {
        ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", version, std::string(200'000, 'x'))), soon())
                        .has_value());
    }
    const std::uint64_t full_bytes = store->stats(soon()).value().store_bytes;
    RunBatch batch{.run_id = "run"};
    for (std::int64_t version = 1; version < 30; ++version) {
        batch.deletions.push_back({.version = version});
    }
    ASSERT_TRUE(commit_run(*store, batch, soon()).has_value());
    EXPECT_GE(store->stats(soon()).value().store_bytes, full_bytes) << "deleting alone gives nothing back";

    std::atomic<bool> reclaiming = true;
    std::atomic<int> failures = 0;
    std::atomic<std::int64_t> written = 0;
    std::vector<std::jthread> writers;
    for (Store* handle : {store.get(), other.get()}) {
        writers.emplace_back([&, handle] {
            const std::string run = handle == store.get() ? "here" : "there";
            for (std::int64_t version = 1; reclaiming || version < 3; ++version, ++written) {
                if (!commit_run(*handle, make_batch(make_snapshot(run, version)), soon())) ++failures;
            }
        });
    }
    const std::uint64_t given_back = store->reclaim(soon()).value();
    reclaiming = false;
    writers.clear();
    EXPECT_EQ(failures, 0);
    EXPECT_GT(written, 3);
    EXPECT_GT(given_back, 29U * 200'000U - 500'000U);
    EXPECT_LT(store->stats(soon()).value().store_bytes, full_bytes - given_back + 1'000'000U);
    EXPECT_TRUE(store->check(soon()).value().findings.empty());
}

// Measures the bytes that the store adds to the frames of a run of deltas and self-contained frames.
TEST(SqlitePruning, ASnapshotCostsFewBytesBesideItsFrame) {
    for (const std::size_t frame_bytes : {std::size_t{80}, std::size_t{300}, std::size_t{600}}) {
        const TempDir dir;
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        const auto write = [&](std::int64_t version) {
            Snapshot snapshot = make_delta(version, version % 16 == 1 ? 0 : version - 1);
            // The id has the form of a UUIDv7: a time in milliseconds, then random bits.
            snapshot.info.snapshot_id =
                fmt::format("019b7ca9-{:04x}-7{:03x}-86a6-{:012x}", version * 7, version % 4096,
                            static_cast<std::uint64_t>(version) * 0x9E3779B97F4AULL % (1ULL << 48));
            snapshot.info.created_at = kEpoch + std::chrono::microseconds(version * 2'345'678);
            snapshot.info.agent_phase = version < 500 ? AgentPhase::kTriage : AgentPhase::kReporting;
            snapshot.info.state_bytes = 1000 + static_cast<std::uint64_t>(version);
            snapshot.frame.resize(frame_bytes);
            return make_write(std::move(snapshot));
        };
        for (std::int64_t version = 1; version <= 3000;) {
            RunBatch batch{.run_id = "run"};
            for (int i = 0; i < 100; ++i) batch.writes.push_back(write(version++));
            const Status status = commit_run(*store, batch, soon());
            ASSERT_TRUE(status.has_value()) << status.error().to_string();
        }
        const StoreStats stats = store->stats(soon()).value();
        EXPECT_LE((stats.store_bytes - stats.payload_bytes) / stats.snapshots, 150U) << "frames of " << frame_bytes;
    }
}

// ---- traces in the file ----

TEST(SqlitePruning, OfADeletedRunAtMostTheEmptiedNewestRowStays) {
    const TempDir dir;
    const fs::path path = dir / "cairn.db";
    const auto store = open_sqlite_store(path).value();
    for (const std::string run : {"a", "b"}) {
        Snapshot snapshot = make_snapshot(run, 1);
        snapshot.info.metadata = R"({"secret":1})";
        snapshot.info.execution_context = R"({"secret":1})";
        ASSERT_TRUE(commit_run(*store, make_batch(snapshot), soon()).has_value());
    }
    const std::string traces =
        "SELECT group_concat(sequence || ' ' || run_key || ' ' || version || ' ' || length(frame) || "
        "ifnull(metadata, '') || ifnull(execution_context, '') || snapshot_id, ', ') FROM snapshots";
    ASSERT_TRUE(commit_run(*store, {.run_id = "a", .run_deletion = RunDeletion{}}, soon()).has_value());
    EXPECT_EQ(query(path, "SELECT count(*) FROM snapshots"), "1") << "the newest row is b's";
    ASSERT_TRUE(commit_run(*store, {.run_id = "b", .run_deletion = RunDeletion{}}, soon()).has_value());
    EXPECT_EQ(query(path, traces), "2 0 0 0");
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("c", 1)), soon()).has_value());
    ASSERT_TRUE(commit_run(*store, {.run_id = "c", .run_deletion = RunDeletion{}}, soon()).has_value());
    EXPECT_EQ(query(path, traces), "3 0 0 0");
    EXPECT_EQ(store->stats(soon()).value().snapshots, 0U);
    EXPECT_EQ(store->check(soon()).value().snapshots, 0U);
}

// ---- damage ----

TEST(SqlitePruning, AMissingBaseIsCorruptWhenReadAndFoundByTheCheck) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    fill(*store, 5);
    execute(dir / "cairn.db", "DELETE FROM snapshots WHERE version = 2; UPDATE runs SET snapshots = 4");
    EXPECT_EQ(store->get("run", "run-1", soon()).value()->info.version, 1);
    for (const std::string id : {"run-3", "run-5"}) {
        const auto snapshot = store->get("run", id, soon());
        ASSERT_FALSE(snapshot.has_value());
        EXPECT_EQ(snapshot.error().code, ErrorCode::kCorrupt);
        EXPECT_NE(snapshot.error().message.find("version 3 needs version 2"), std::string::npos)
            << snapshot.error().message;
    }
    EXPECT_EQ(store->get("run", std::nullopt, soon()).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(store->history({.run_id = "run"}, soon()).value().size(), 4U)
        << "the rest of the history is still to be seen";
    const CheckReport report = store->check(soon()).value();
    ASSERT_EQ(report.findings.size(), 1U);
    EXPECT_EQ(report.findings[0].snapshot_id, "run-3");
    EXPECT_EQ(report.findings[0].run_id, "run");
    EXPECT_NE(report.findings[0].problem.find("needs is missing"), std::string::npos);
}

TEST(SqlitePruning, EveryFindingNamesWhatIsWrongWithAChain) {
    struct Case {
        std::string sql;
        std::string problem;
    };
    for (const Case& damage :
         std::vector<Case>{{"UPDATE snapshots SET base_steps = -1 WHERE version = 3", "base version is impossible"},
                           {"UPDATE snapshots SET base_steps = 3 WHERE version = 3", "base version is impossible"},
                           {"UPDATE snapshots SET parent_steps = 0 WHERE version = 3", "parent version is impossible"},
                           {"UPDATE snapshots SET label_key = 77 WHERE version = 3", "label is missing"},
                           {"UPDATE snapshots SET version = 2 WHERE version = 3", "the same version"},
                           {"UPDATE snapshots SET run_key = 0 WHERE version = 3", "run is missing"}}) {
        SCOPED_TRACE(damage.sql);
        const TempDir dir;
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        fill(*store, 4);
        execute(dir / "cairn.db", damage.sql);
        std::string problems;
        const CheckReport report = store->check(soon()).value();
        for (const auto& finding : report.findings) problems += finding.problem + "; ";
        EXPECT_NE(problems.find(damage.problem), std::string::npos) << problems;
        for (const std::string id : {"run-3", "run-4"}) {  // it must answer or fail, and must always end
            const auto snapshot = store->get("run", id, soon());
            EXPECT_TRUE(snapshot.has_value() || snapshot.error().code == ErrorCode::kCorrupt);
        }
    }
}

}  // namespace
}  // namespace cairn::test
