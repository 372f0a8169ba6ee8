// Goal: a store that an earlier cairn wrote is read exactly, whether it may be migrated or only read. A migration that
// is cut short anywhere leaves it as it was.
// Method: files beside this test, written by the last builds of schemas 1, 2 and 3, and by the first build that stored
// deltas. Their content is compared, field by field and byte by byte, with the original snapshots, or with the export
// of the build that wrote the file.

#include "fault/first_deltas.h"
#include "fault/schema_1_snapshots.h"
#include "fault/schema_2_snapshots.h"
#include "frame/frame.h"
#include "store/sqlite/sqlite_schema.h"
#include "store/sqlite/sqlite_store.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/paths.h"
#include "support/power_loss_vfs.h"
#include "support/seed.h"
#include "support/step_killer.h"
#include "support/temp_dir.h"
#include "transfer/exporter.h"

#include <cairn/persistence.h>

#include <gtest/gtest.h>
#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

const int kNewest = sqlite::migrations().back().version;

std::string unpack(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    const std::string packed((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::string content(ZSTD_getFrameContentSize(packed.data(), packed.size()), '\0');
    content.resize(ZSTD_decompress(content.data(), content.size(), packed.data(), packed.size()));
    return content;
}

void put_packed(const std::string& name, const std::filesystem::path& path) {
    const std::string content = unpack(source_dir() / "tests/fault/data" / name);
    ASSERT_EQ(content.substr(0, 15), "SQLite format 3");
    std::ofstream(path, std::ios::binary) << content;
}

// The parameter is the schema of the file.
class SqliteMigration : public testing::TestWithParam<int> {
protected:
    void SetUp() override { put_old_store(path_); }

    static void put_old_store(const std::filesystem::path& path) {
        put_packed("schema_" + std::to_string(GetParam()) + ".db.zst", path);
    }

    static bool has_tree() { return GetParam() == 2; }
    static void expect_listings(Store& store);
    static void expect_all(Store& store);

    std::shared_ptr<Store> open(const OpenOptions& options = {}) {
        auto store = open_sqlite_store(path_, options);
        EXPECT_TRUE(store.has_value()) << store.error().to_string();
        return store.value_or(nullptr);
    }

    TempDir dir_;
    std::filesystem::path path_ = dir_ / "cairn.db";
};

// Its content is known row by row.
class SqliteMigrationOfKnownRows : public SqliteMigration {};

void expect_info(const SnapshotInfo& info, const SnapshotInfo& wanted) {
    EXPECT_EQ(info.run_id, wanted.run_id);
    EXPECT_EQ(info.thread_id, wanted.thread_id);
    EXPECT_EQ(info.user_id, wanted.user_id);
    EXPECT_EQ(info.snapshot_id, wanted.snapshot_id);
    EXPECT_EQ(info.version, wanted.version);
    EXPECT_EQ(info.parent_version, wanted.parent_version);
    EXPECT_EQ(info.checkpoint_type, wanted.checkpoint_type);
    EXPECT_EQ(info.agent_phase, wanted.agent_phase);
    EXPECT_EQ(info.is_recovery_point, wanted.is_recovery_point);
    EXPECT_EQ(info.created_at, wanted.created_at);
    EXPECT_EQ(info.expires_at, wanted.expires_at);
    EXPECT_EQ(info.state_bytes, wanted.state_bytes);
    EXPECT_EQ(info.checksum, wanted.checksum);
    EXPECT_EQ(info.execution_context, wanted.execution_context);
    EXPECT_EQ(info.metadata, "");
    EXPECT_EQ(info.base_version, 0);
}

void expect_snapshots(Store& store) {
    for (const Snapshot& wanted : schema_1_snapshots()) {
        SCOPED_TRACE(wanted.info.snapshot_id);
        const auto found = store.get(wanted.info.run_id, wanted.info.snapshot_id, soon());
        ASSERT_TRUE(found.has_value() && found->has_value());
        expect_info((*found)->info, wanted.info);
        EXPECT_TRUE((*found)->bases.empty());
        EXPECT_EQ(decode_full_frame((*found)->frame, 1U << 20).value(),
                  schema_1_text(wanted.info.run_id, wanted.info.version));
        EXPECT_TRUE(wanted.info.run_id != "plain" || (*found)->frame == wanted.frame);
        EXPECT_EQ((*found)->info.frame_bytes, (*found)->frame.size());
    }
}

void expect_recoveries(Store& store) {
    const auto records = store.recovery_log("plain", 10, soon()).value();
    const auto wanted = schema_1_recoveries();
    ASSERT_EQ(records.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const RecoveryRecord& record = records[wanted.size() - 1 - i];
        EXPECT_EQ(record.recovery_type, wanted[i].recovery_type);
        EXPECT_EQ(record.failure_reason, wanted[i].failure_reason);
        EXPECT_EQ(record.auto_recovery, wanted[i].auto_recovery);
        EXPECT_EQ(record.source_snapshot_id, wanted[i].source_snapshot_id);
        EXPECT_EQ(record.result_snapshot_id, wanted[i].result_snapshot_id);
        EXPECT_EQ(record.result, wanted[i].result);
        EXPECT_EQ(record.detail, wanted[i].detail);
        EXPECT_EQ(record.started_at, wanted[i].started_at);
        EXPECT_EQ(record.duration, wanted[i].duration);
    }
}

void expect_tree(Store& store) {
    for (const Snapshot& wanted : schema_2_snapshots()) {
        SCOPED_TRACE(wanted.info.snapshot_id);
        const Snapshot found = store.get("tree", wanted.info.snapshot_id, soon()).value().value();
        EXPECT_EQ(found.frame, wanted.frame);
        EXPECT_EQ(found.info.metadata, wanted.info.metadata);
        EXPECT_EQ(found.info.parent_version, wanted.info.parent_version);
        EXPECT_EQ(found.info.base_version, wanted.info.base_version);
    }
    EXPECT_EQ(store.get("tree", "tree-4", soon()).value()->bases.size(), 2U);
    EXPECT_EQ(store.history({.run_id = "tree", .metadata = {{"step", "3"}}}, soon()).value().size(), 1U);
}

void SqliteMigration::expect_listings(Store& store) {
    auto runs = store.runs({.order = RunQuery::Order::kById}, soon()).value().items;
    for (const RunInfo& run : runs) {
        EXPECT_FALSE(run.lease);
        EXPECT_FALSE(store.lease(run.run_id, soon()).value());
    }
    if (has_tree()) {
        ASSERT_EQ(runs.at(2).run_id, "tree");
        EXPECT_EQ(runs[2].metadata, R"({"step":4})");
        runs.erase(runs.begin() + 2);
    }
    ASSERT_EQ(runs.size(), 3U);
    EXPECT_EQ(runs[0].run_id, "gap");
    EXPECT_EQ(runs[1].run_id, "plain");
    EXPECT_EQ(runs[1].head_version, 3);
    EXPECT_EQ(runs[1].created_at, schema_1_snapshots()[6].info.created_at);
    EXPECT_EQ(runs[1].updated_at, schema_1_snapshots()[8].info.created_at);
    EXPECT_EQ(runs[2].run_id, "usual");
    EXPECT_EQ(runs[2].checkpoint_type, CheckpointType::kPipelineComplete);
    EXPECT_EQ(runs[2].metadata, "");
    EXPECT_EQ(store.threads({}, soon()).value().items.size(), 2U);
    EXPECT_EQ(store.history({.run_id = "usual", .agent_phase = AgentPhase::kTriage}, soon()).value().size(), 3U);
    EXPECT_EQ(store.history({.run_id = "plain", .is_recovery_point = true}, soon()).value().size(), 1U);
    EXPECT_EQ(
        store.history({.run_id = "plain", .created_until = kEpoch - std::chrono::hours(2)}, soon()).value().size(), 1U);
    EXPECT_TRUE(store.history({.run_id = "usual", .metadata = {{"key", "1"}}}, soon()).value().empty());
}

// The file of schema 3 was written by the last build before opaque states (7de0b64), which also exported it: runs saved
// by both services, with forks, deltas, contexts, metadata, a recovery, a pruned run and a pipeline's. Neither is ever
// written again.
std::string schema_3_export() {
    return unpack(source_dir() / "tests/fault/data/schema_3_export.jsonl.zst");
}

std::string exported(Store& store) {
    std::string lines;
    const auto sink = [&](const std::string& line) -> Status {
        lines += line + "\n";
        return {};
    };
    EXPECT_TRUE(export_runs(store, list_runs_to_export(store).value(), sink));
    return lines;
}

void expect_export(Store& store) {
    EXPECT_EQ(exported(store), schema_3_export());
    EXPECT_TRUE(store.stats(soon()).value().opaque_states.empty());
    EXPECT_TRUE(check_deep(store, Deadline::max()).value().findings.empty());
}

void SqliteMigration::expect_all(Store& store) {
    if (GetParam() == 3) return expect_export(store);
    expect_snapshots(store);
    if (has_tree()) expect_tree(store);
    expect_recoveries(store);
    expect_listings(store);
    const StoreStats stats = store.stats(soon()).value();
    EXPECT_EQ(stats.snapshots, has_tree() ? 14U : 10U);
    EXPECT_EQ(stats.forks, has_tree() ? 3U : 2U);
    EXPECT_EQ(stats.chain_frames_max, has_tree() ? 3U : 1U);
    const CheckReport report = store.check(soon()).value();
    EXPECT_EQ(report.snapshots, stats.snapshots);
    for (const auto& finding : report.findings) ADD_FAILURE() << finding.run_id << ": " << finding.problem;
}

TEST_P(SqliteMigration, AnOldStoreIsMigratedAndHoldsWhatItHeld) {
    const auto store = open();
    EXPECT_EQ(query(path_, "PRAGMA user_version"), fmt::format("{}", kNewest));
    expect_all(*store);
}

TEST_P(SqliteMigrationOfKnownRows, AMigratedStoreGoesOn) {
    const auto store = open();
    const auto commit = [&](const Snapshot& snapshot, std::int64_t expected) {
        return commit_run(
            *store, {.run_id = snapshot.info.run_id, .writes = {{.snapshot = snapshot, .expected_version = expected}}},
            soon());
    };
    Snapshot taken = make_snapshot("usual", 7);
    taken.info.snapshot_id = "019b7ca9-94bb-7f14-86a6-97f616299b43";
    EXPECT_EQ(commit(taken, 6).error().code, ErrorCode::kAlreadyExists) << "ids are found by the new index";
    Snapshot delta = make_snapshot("usual", 7);
    delta.info.base_version = 5;
    delta.info.metadata = R"({"key":1})";
    ASSERT_TRUE(commit(delta, 6).has_value());
    EXPECT_EQ(store->get("usual", std::nullopt, soon()).value()->bases.size(), 1U);
    EXPECT_EQ(store->history({.run_id = "usual", .metadata = {{"key", "1"}}}, soon()).value().size(), 1U);
    Snapshot first = make_snapshot("new", 1);
    EXPECT_TRUE(commit(first, 0).has_value());
    const Lease lease{.owner = "ann", .epoch = 1};
    ASSERT_TRUE(
        commit_run(*store, {.run_id = "usual", .lease = LeaseWrite{.lease = lease, .heartbeat_at = kEpoch}}, soon()));
    EXPECT_EQ(store->lease("usual", soon()).value()->lease, lease);
    EXPECT_TRUE(store->check(soon()).value().findings.empty());
}

TEST_P(SqliteMigrationOfKnownRows, AMigratedStoreIsSmallerOnceItsSpaceIsReclaimed) {
    const auto old_bytes = std::filesystem::file_size(path_);
    const auto store = open();
    ASSERT_TRUE(store->reclaim(soon()).has_value());
    const std::uint64_t new_pages = has_tree() ? 1 : 3;  // leases; for schema 1 also labels and their index
    EXPECT_LE(store->stats(soon()).value().store_bytes, old_bytes + new_pages * 8192U);
    expect_all(*store);
}

TEST_P(SqliteMigration, ReadOnlyOpeningReadsAnOldStoreAsItIs) {
    std::ifstream file(path_, std::ios::binary);
    const std::string before((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    {
        const auto store = open({.read_only = true});
        expect_all(*store);
        EXPECT_EQ(commit_run(*store, make_batch(make_snapshot("new", 1)), soon()).error().code, ErrorCode::kReadOnly);
    }
    std::ifstream again(path_, std::ios::binary);
    EXPECT_TRUE(before == std::string((std::istreambuf_iterator<char>(again)), std::istreambuf_iterator<char>()));
}

TEST_P(SqliteMigration, AMigrationKilledAtAnyStepLeavesTheOldStoreOrTheNew) {
    int steps = 0;
    for (bool was_killed = true; was_killed; ++steps) {
        const TempDir dir;
        put_old_store(dir / "cairn.db");
        was_killed = is_killed_at(steps, [&] { return open_sqlite_store(dir / "cairn.db").has_value(); });
        const auto store = open_sqlite_store(dir / "cairn.db");
        ASSERT_TRUE(store.has_value()) << "killed at step " << steps << ": " << store.error().to_string();
        SCOPED_TRACE(steps);
        expect_all(**store);
    }
    EXPECT_GT(steps, 10) << "fewer than a migration has: nothing was tested";
}

TEST_P(SqliteMigration, PowerLostAtAnyMomentOfAMigrationLeavesTheOldStoreOrTheNew) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    std::vector<DiskImage> disks;
    PowerLossVfs vfs(dir_.path());
    vfs.watch([&](const auto& /*moment*/, const auto& take) { disks.push_back(take()); });
    open();
    vfs.watch(nullptr);
    EXPECT_GT(disks.size(), 10U) << "fewer moments than a migration has: nothing was tested";
    for (std::size_t moment = 0; moment < disks.size(); ++moment) {
        for (const std::size_t sector_bytes : {512U, 4096U}) {
            const TempDir dir(memory_folder());
            disks[moment].write_survivor(dir.path(), {.seed = first_seed + moment, .sector_bytes = sector_bytes});
            const auto store = open_sqlite_store(dir / "cairn.db", {.create = false});
            ASSERT_TRUE(store.has_value()) << "power lost at moment " << moment << ": " << store.error().to_string();
            SCOPED_TRACE(moment);
            expect_all(**store);
            if (HasFailure()) return;
        }
    }
}

TEST(FirstDeltas, OfAnEarlierBuildAreDecodedExactlyAndBuiltUpon) {
    const TempDir dir;
    put_packed("first_deltas.db.zst", dir / "cairn.db");
    OptimizedStatePersistence service(open_sqlite_store(dir / "cairn.db").value());
    const auto expect_text = [&](const std::string& snapshot_id, int version) {
        const auto loaded = service.load_agent_state({.run_id = "run", .snapshot_id = snapshot_id});
        ASSERT_TRUE(loaded) << "version " << version << ": " << loaded.error().to_string();
        EXPECT_EQ(loaded->state.text(), first_deltas_text(version));
        EXPECT_TRUE(version == 1 || loaded->info.base_version == version - 1);
    };
    const auto history = open_sqlite_store(dir / "cairn.db").value()->history({.run_id = "run"}, soon()).value();
    EXPECT_EQ(history.size(), static_cast<std::size_t>(kFirstDeltas));
    for (const SnapshotInfo& info : history) {
        expect_text(info.snapshot_id, static_cast<int>(info.version));
    }
    const Receipt receipt =
        service
            .save_agent_state({.run_id = "run",
                               .thread_id = "thread",
                               .user_id = "user",
                               .state_data = State::parse(first_deltas_text(kFirstDeltas + 1)).value()})
            .value();
    expect_text(receipt.snapshot_id, kFirstDeltas + 1);
}

TEST(LastFileWithoutOpaqueStates, HoldsOpaqueStatesBesideTheOthersOnceItIsMigrated) {
    const TempDir dir;
    put_packed("schema_3.db.zst", dir / "cairn.db");
    const std::shared_ptr<Store> store = open_sqlite_store(dir / "cairn.db").value();
    OptimizedStatePersistence service(store);
    const State opaque = State::opaque("msgpack", std::string(3000, '\xff')).value();
    const Receipt receipt =
        service.save_agent_state({.run_id = "grown", .thread_id = "t1", .user_id = "u1", .state_data = opaque}).value();
    EXPECT_EQ(service.load_agent_state({.run_id = "grown"}).value().state, opaque);
    EXPECT_EQ(read_frame_header(store->get("grown", receipt.snapshot_id, soon()).value()->frame).value().content,
              FrameContent::kOpaque);
    EXPECT_TRUE(check_deep(*store, Deadline::max()).value().findings.empty());
}

INSTANTIATE_TEST_SUITE_P(Schemas, SqliteMigration, testing::Values(1, 2, 3),
                         [](const auto& test) { return "FromSchema" + std::to_string(test.param); });
INSTANTIATE_TEST_SUITE_P(Schemas, SqliteMigrationOfKnownRows, testing::Values(1, 2),
                         [](const auto& test) { return "FromSchema" + std::to_string(test.param); });

}  // namespace
}  // namespace cairn::test
