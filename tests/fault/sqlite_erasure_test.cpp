// Goal: once space is reclaimed, no byte of a deleted snapshot is left in the file or its log, the words of its labels
// included. No label is deleted that is still used or about to be used.
// Method: every word of a doomed snapshot carries a mark that nothing else has. Afterwards the bytes on disk are
// searched for the mark, while the store is still open.

#include <cairn/retention.h>

#include "store/sqlite/label_sweep.h"
#include "store/sqlite/sqlite_store.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

constexpr char kMark[] = "DOOMED";

// Returns the places in the store's files where the mark still is, with the bytes around it.
std::vector<std::string> traces(const fs::path& database) {
    std::vector<std::string> found;
    for (const char* suffix : {"", "-wal", "-shm"}) {
        fs::path path = database;
        const std::string content = content_of(path += suffix);
        for (auto at = content.find(kMark); at != std::string::npos; at = content.find(kMark, at + 1)) {
            found.push_back(fmt::format("{} at {}: {}", path.filename().string(), at, content.substr(at, 40)));
        }
    }
    return found;
}

std::string labels(const fs::path& database) {
    return query(database,
                 "SELECT group_concat(agent_phase, ' ') FROM (SELECT agent_phase FROM snapshot_labels ORDER BY 1)");
}

Snapshot make_labelled(const std::string& run_id, std::int64_t version, const std::string& phase) {
    Snapshot snapshot = make_snapshot(run_id, version);
    snapshot.info.agent_phase = AgentPhase(phase);
    return snapshot;
}

// Makes a snapshot with the mark in every field that holds words.
Snapshot make_doomed(const std::string& run_id, std::int64_t version, std::size_t frame_bytes) {
    Snapshot snapshot = make_snapshot(run_id, version);
    SnapshotInfo& info = snapshot.info;
    info.thread_id = fmt::format("{}-thread", kMark);
    info.user_id = fmt::format("{}-user", kMark);
    info.snapshot_id = fmt::format("{}-{}-{}", kMark, run_id, version);
    info.checkpoint_type = CheckpointType(fmt::format("{}-type", kMark));
    info.agent_phase = AgentPhase(fmt::format("{}-phase-{}", kMark, version % 5));
    info.metadata = fmt::format(R"({{"note":"{}"}})", kMark);
    info.execution_context = fmt::format(R"({{"tool":"{}"}})", kMark);
    snapshot.frame.clear();
    while (snapshot.frame.size() < frame_bytes) snapshot.frame += fmt::format("{}-{}-{} ", kMark, run_id, version);
    return snapshot;
}

class SqliteErasure : public testing::Test {
protected:
    Status commit(const Snapshot& snapshot) { return commit_run(*store_, make_batch(snapshot), soon()); }
    // Takes the lease for one owner after the other, so that it has been rewritten in many places.
    Status lease(const std::string& run_id, std::int64_t epochs) {
        Lease held;
        if (const auto found = store_->lease(run_id, soon()).value()) held = found->lease;
        for (std::int64_t i = 0; i < epochs; ++i) {
            Lease next{.owner = fmt::format("{}-owner-{}", kMark, held.epoch), .epoch = held.epoch + 1};
            const Status status =
                commit_run(*store_, {.run_id = run_id, .lease = LeaseWrite{.lease = next, .expected = held}}, soon());
            if (!status) return status;
            held = std::move(next);
        }
        return {};
    }
    void erase_user() {
        const auto report = delete_runs(*store_, {.user_id = fmt::format("{}-user", kMark)});
        ASSERT_TRUE(report.has_value()) << report.error().to_string();
    }

    TempDir dir_;
    const fs::path path_ = dir_ / "cairn.db";
    std::shared_ptr<Store> store_ = open_sqlite_store(path_).value();
};

// ---- bytes ----

TEST_F(SqliteErasure, OfTheOnlyRunNothingIsLeft) {
    for (std::int64_t version = 1; version <= 20; ++version) {
        ASSERT_TRUE(commit(make_doomed(fmt::format("{}-run", kMark), version, 500)));
    }
    ASSERT_TRUE(commit_run(*store_,
                           {.run_id = fmt::format("{}-run", kMark),
                            .recoveries = {{.run_id = fmt::format("{}-run", kMark),
                                            .failure_reason = kMark,
                                            .result = "recovered",
                                            .detail = kMark}}},
                           soon()));
    ASSERT_TRUE(lease(fmt::format("{}-run", kMark), 9));
    ASSERT_FALSE(traces(path_).empty()) << "nothing is tested";
    erase_user();
    EXPECT_EQ(traces(path_), std::vector<std::string>{});
    EXPECT_EQ(labels(path_), "NULL");
}

// The doomed frames have a few bytes up to many pages. They stand between those of runs that stay, grow and are pruned.
TEST_F(SqliteErasure, AmongOthersNothingIsLeftAfterAVacuum) {
    const std::uint64_t seed = test::seed();
    SCOPED_TRACE(replay_line(seed));
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t limit) { return random() % limit; };
    const auto frame_bytes = [&] { return below(4) == 0 ? below(60'000) : below(3'000); };
    std::map<std::string, std::int64_t> heads;
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < 150; ++i) {
            const std::uint64_t number = below(8);
            const bool is_doomed = number % 2 == 0;
            const std::string run_id = is_doomed ? fmt::format("{}-{}", kMark, number) : fmt::format("run {}", number);
            const std::int64_t version = ++heads[run_id];
            ASSERT_TRUE(commit(is_doomed ? make_doomed(run_id, version, frame_bytes())
                                         : make_snapshot(run_id, version, std::string(frame_bytes(), 'x'))));
            if (is_doomed && below(5) == 0) {
                ASSERT_TRUE(lease(run_id, 1));
            }
            if (below(20) != 0 || version < 4) continue;
            ASSERT_TRUE(commit_run(*store_,
                                   {.run_id = run_id,
                                    .rewrites = {{.version = version, .frame = std::string(frame_bytes(), 'y')}},
                                    .deletions = {{.version = version - 2}}},
                                   soon()));
        }
        ASSERT_FALSE(traces(path_).empty()) << "nothing is tested";
        erase_user();
        EXPECT_EQ(query(path_, "PRAGMA freelist_count"), "0");
        EXPECT_EQ(fs::file_size(dir_ / "cairn.db-wal"), 0U);
        execute(path_, "VACUUM");
        ASSERT_TRUE(store_->reclaim(soon()));
        EXPECT_EQ(traces(path_), std::vector<std::string>{}) << "round " << round;
        std::erase_if(heads, [](const auto& entry) { return entry.first.starts_with(kMark); });
        EXPECT_TRUE(store_->check(soon()).value().findings.empty());
    }
}

TEST_F(SqliteErasure, APrunedSnapshotLeavesNothingEither) {
    ASSERT_TRUE(commit(make_doomed("run", 1, 30'000)));
    Snapshot head = make_doomed("run", 2, 0);
    head.info.snapshot_id = "head";
    head.info.metadata.clear();
    head.info.execution_context.clear();
    head.info.checkpoint_type = {};
    head.info.agent_phase = {};
    head.frame = "head";
    ASSERT_TRUE(commit(head));
    ASSERT_TRUE(prune(*store_, {.keep_last = 1}));
    for (const std::string& trace : traces(path_)) {
        EXPECT_TRUE(trace.find("-user") != std::string::npos || trace.find("-thread") != std::string::npos)
            << "whose the run is stays, and nothing else: " << trace;
    }
    EXPECT_EQ(query(path_, "SELECT count(*) FROM snapshot_labels"), "1");
}

// ---- labels ----

TEST_F(SqliteErasure, ALabelStaysAsLongAsOneSnapshotHasIt) {
    ASSERT_TRUE(commit(make_labelled("a", 1, "shared")));
    ASSERT_TRUE(commit(make_labelled("b", 1, "shared")));
    ASSERT_TRUE(commit(make_labelled("b", 2, "own")));
    ASSERT_TRUE(commit(make_labelled("c", 1, "other")));
    ASSERT_TRUE(commit_run(*store_, {.run_id = "b", .run_deletion = RunDeletion{}}, soon()));
    EXPECT_EQ(labels(path_), "other own shared") << "deleting alone is not the moment";
    ASSERT_TRUE(store_->reclaim(soon()));
    EXPECT_EQ(labels(path_), "other shared");
    ASSERT_TRUE(commit_run(*store_, {.run_id = "a", .run_deletion = RunDeletion{}}, soon()));
    ASSERT_TRUE(store_->reclaim(soon()));
    EXPECT_EQ(labels(path_), "other");
    EXPECT_TRUE(store_->check(soon()).value().findings.empty());
}

TEST_F(SqliteErasure, OldAndManyLabelsAreFoundToBeInUse) {
    std::vector<SnapshotWrite> writes;
    for (std::int64_t version = 1; version <= 10'000; ++version) {
        const std::string phase = version % 4 == 0 ? fmt::format("once {}", version) : "often";
        writes.push_back(make_write(make_labelled(version % 2 == 0 ? "even" : "odd", (version + 1) / 2, phase)));
    }
    ASSERT_TRUE(commit_all(*store_, batches_of(std::move(writes)), soon()));
    ASSERT_TRUE(store_->reclaim(soon()));
    EXPECT_EQ(query(path_, "SELECT count(*) FROM snapshot_labels"), "2501");
    ASSERT_TRUE(commit_run(*store_, {.run_id = "even", .run_deletion = RunDeletion{}}, soon()));
    ASSERT_TRUE(store_->reclaim(soon()));
    EXPECT_EQ(labels(path_), "often");
    EXPECT_TRUE(store_->check(soon()).value().findings.empty());
}

TEST_F(SqliteErasure, ALabelThatWasDeletedIsMadeAgainByWhoeverUsesItNext) {
    const auto other = open_sqlite_store(path_).value();
    for (int round = 1; round <= 3; ++round) {
        ASSERT_TRUE(commit(make_labelled("run", 1, "peculiar"))) << round;
        ASSERT_TRUE(commit_run(*other, {.run_id = "run", .run_deletion = RunDeletion{}}, soon()));
        ASSERT_TRUE(other->reclaim(soon()));
        ASSERT_EQ(labels(path_), "NULL");
        ASSERT_TRUE(commit_run(*other, make_batch(make_labelled("else", 1, "takes its key")), soon()));
        ASSERT_TRUE(commit(make_labelled("run", 1, "peculiar")));
        EXPECT_EQ(store_->get("run", std::nullopt, soon()).value()->info.agent_phase.name(), "peculiar");
        EXPECT_EQ(store_->get("else", std::nullopt, soon()).value()->info.agent_phase.name(), "takes its key");
        ASSERT_TRUE(commit_all(*other, {make_run_deletion("run"), make_run_deletion("else")}, soon()));
    }
}

TEST_F(SqliteErasure, ALabelThatIsUsedAgainAfterTheReadingStays) {
    ASSERT_TRUE(commit(make_labelled("old", 1, "used again")));
    ASSERT_TRUE(commit(make_labelled("old", 2, "unused")));
    ASSERT_TRUE(commit_run(*store_, {.run_id = "old", .run_deletion = RunDeletion{}}, soon()));
    const auto connection = sqlite::Connection::open(path_, sqlite::Access::kWrite).value();
    sqlite::LabelSweep sweep;
    while (!sweep.has_looked_at_all()) ASSERT_TRUE(sweep.look_on(*connection));
    ASSERT_TRUE(commit(make_labelled("new", 1, "used again")));
    while (!sweep.has_removed_all()) ASSERT_TRUE(sweep.remove_some(*connection));
    EXPECT_EQ(labels(path_), "used again");
    EXPECT_EQ(store_->get("new", std::nullopt, soon()).value()->info.agent_phase.name(), "used again");
}

// Labels come and go all the time, in two handles, while a third one sweeps. SQLite's lock is not fair, so each side
// goes on until the other has done enough.
TEST_F(SqliteErasure, WritersThatUseALabelWhileItIsSweptLoseNothing) {
    constexpr int kRounds = 100;
    constexpr int kSweeps = 5;
    std::atomic<int> failures = 0;
    std::atomic<int> sweeps = 0;
    std::atomic<int> busy = 2;
    std::vector<std::jthread> writers;
    for (const std::string run_id : {"a", "b"}) {
        writers.emplace_back([&, run_id] {
            const auto store = open_sqlite_store(path_).value();
            for (int round = 1; (round <= kRounds || sweeps < kSweeps) && failures == 0; ++round) {
                const std::string phase = fmt::format("phase {}", round % 3);
                if (!commit_run(*store, make_batch(make_labelled(run_id, 1, phase)), soon())) ++failures;
                const auto read = store->get(run_id, std::nullopt, soon());
                if (!read || !*read || (*read)->info.agent_phase.name() != phase) ++failures;
                if (!commit_run(*store, {.run_id = run_id, .run_deletion = RunDeletion{}}, soon())) ++failures;
            }
            --busy;
        });
    }
    for (; busy > 0; ++sweeps) {
        if (!store_->reclaim(soon())) ++failures;
    }
    writers.clear();
    EXPECT_EQ(failures, 0);
    EXPECT_TRUE(store_->check(soon()).value().findings.empty());
    ASSERT_TRUE(store_->reclaim(soon()));
    EXPECT_EQ(labels(path_), "NULL");
}

}  // namespace
}  // namespace cairn::test
