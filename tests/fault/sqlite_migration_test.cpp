// Goal: a store that an earlier cairn wrote is read exactly, whether it may be migrated or only read, and a migration
// that is cut short anywhere leaves it as it was.
// Method: a file that the last build of schema 1 wrote, kept beside this test; what it holds is compared field by field
// and byte by byte with what was put into it.

#include "fault/schema_1_snapshots.h"
#include "frame/frame.h"
#include "store/sqlite/sqlite_schema.h"
#include "store/sqlite/sqlite_store.h"
#include "support/make.h"
#include "support/power_loss_vfs.h"
#include "support/seed.h"
#include "support/step_killer.h"
#include "support/temp_dir.h"

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

class SqliteMigration : public testing::Test {
protected:
    void SetUp() override { put_old_store(path_); }

    static void put_old_store(const std::filesystem::path& path) {
        static const std::string kOldStore =
            unpack(std::filesystem::path(CAIRN_SOURCE_DIR) / "tests/fault/data/schema_1.db.zst");
        ASSERT_EQ(kOldStore.substr(0, 15), "SQLite format 3");
        std::ofstream(path, std::ios::binary) << kOldStore;
    }

    std::shared_ptr<Store> open(const OpenOptions& options = {}) {
        auto store = open_sqlite_store(path_, options);
        EXPECT_TRUE(store.has_value()) << store.error().to_string();
        return store.value_or(nullptr);
    }

    TempDir dir_;
    std::filesystem::path path_ = dir_ / "cairn.db";
};

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
        const auto found = store.get(wanted.info.run_id, wanted.info.snapshot_id);
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
    const auto records = store.recovery_log("plain", 10).value();
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

void expect_listings(Store& store) {
    const auto runs = store.runs({}).value().items;
    ASSERT_EQ(runs.size(), 3U);
    EXPECT_EQ(runs[0].run_id, "gap");
    EXPECT_EQ(runs[1].run_id, "plain");
    EXPECT_EQ(runs[1].head_version, 3);
    EXPECT_EQ(runs[1].created_at, schema_1_snapshots()[6].info.created_at);
    EXPECT_EQ(runs[1].updated_at, schema_1_snapshots()[8].info.created_at);
    EXPECT_EQ(runs[2].checkpoint_type, CheckpointType::kPipelineComplete);
    EXPECT_EQ(runs[2].commit_sequence, 6);
    EXPECT_EQ(store.threads({}).value().items.size(), 2U);
    EXPECT_EQ(store.history({.run_id = "usual", .agent_phase = AgentPhase::kTriage}).value().size(), 3U);
    EXPECT_EQ(store.history({.run_id = "plain", .is_recovery_point = true}).value().size(), 1U);
    EXPECT_EQ(store.history({.run_id = "plain", .created_until = kEpoch - std::chrono::hours(2)}).value().size(), 1U);
    EXPECT_TRUE(store.history({.run_id = "usual", .metadata = {{"key", "1"}}}).value().empty());
}

void expect_all(Store& store) {
    expect_snapshots(store);
    expect_recoveries(store);
    expect_listings(store);
    const StoreStats stats = store.stats().value();
    EXPECT_EQ(stats.snapshots, 10U);
    EXPECT_EQ(stats.forks, 2U);
    EXPECT_EQ(stats.chain_frames_max, 1U);
    const CheckReport report = store.check().value();
    EXPECT_EQ(report.snapshots, 10U);
    for (const auto& finding : report.findings) ADD_FAILURE() << finding.run_id << ": " << finding.problem;
}

TEST_F(SqliteMigration, AStoreOfSchemaOneIsMigratedAndHoldsWhatItHeld) {
    const auto store = open();
    EXPECT_EQ(store->migrate().value(), kNewest);
    expect_all(*store);
}

TEST_F(SqliteMigration, AMigratedStoreGoesOn) {
    const auto store = open();
    const auto commit = [&](Snapshot snapshot, std::int64_t expected) {
        return store->commit({.writes = {{.snapshot = std::move(snapshot), .expected_version = expected}}}, soon());
    };
    Snapshot taken = make_snapshot("usual", 7);
    taken.info.snapshot_id = "019b7ca9-94bb-7f14-86a6-97f616299b43";
    EXPECT_EQ(commit(taken, 6).error().code, ErrorCode::kAlreadyExists) << "ids are found by the new index";
    Snapshot delta = make_snapshot("usual", 7);
    delta.info.base_version = 5;
    delta.info.metadata = R"({"key":1})";
    ASSERT_TRUE(commit(delta, 6).has_value());
    EXPECT_EQ(store->get("usual", std::nullopt).value()->bases.size(), 1U);
    EXPECT_EQ(store->history({.run_id = "usual", .metadata = {{"key", "1"}}}).value().size(), 1U);
    EXPECT_EQ(store->runs({}).value().items[2].commit_sequence, 11);
    Snapshot first = make_snapshot("new", 1);
    EXPECT_TRUE(commit(first, 0).has_value());
    EXPECT_TRUE(store->check().value().findings.empty());
}

TEST_F(SqliteMigration, AMigratedStoreIsSmallerOnceItsSpaceIsReclaimed) {
    const auto old_bytes = std::filesystem::file_size(path_);
    const auto store = open();
    ASSERT_TRUE(store->reclaim(soon()).has_value());
    EXPECT_LE(store->stats().value().store_bytes, old_bytes + 2 * 8192U) << "labels and their index are new";
    expect_all(*store);
}

TEST_F(SqliteMigration, ReadOnlyOpeningReadsSchemaOneAsItIs) {
    std::ifstream file(path_, std::ios::binary);
    const std::string before((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    {
        const auto store = open({.read_only = true});
        expect_all(*store);
        EXPECT_EQ(store->commit(make_batch(make_snapshot("new", 1)), soon()).error().code, ErrorCode::kReadOnly);
        const auto migrated = store->migrate();
        ASSERT_FALSE(migrated.has_value());
        EXPECT_EQ(migrated.error().code, ErrorCode::kReadOnly) << migrated.error().to_string();
    }
    std::ifstream again(path_, std::ios::binary);
    EXPECT_TRUE(before == std::string((std::istreambuf_iterator<char>(again)), std::istreambuf_iterator<char>()));
}

TEST_F(SqliteMigration, AMigrationKilledAtAnyStepLeavesTheOldStoreOrTheNew) {
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

TEST_F(SqliteMigration, PowerLostAtAnyMomentOfAMigrationLeavesTheOldStoreOrTheNew) {
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

}  // namespace
}  // namespace cairn::test
