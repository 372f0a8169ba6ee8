// Goal: several processes share one file, and any of them may die at any moment. No save is lost, there is no "locked"
// error before the deadline, and no head is stale.
// Method: real second processes, forked before the test opens its own store, and SIGKILL.

#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/make.h"
#include "support/temp_dir.h"
#include "support/write_lock.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

using std::chrono::milliseconds;

void expect_sound(Store& store) {
    const Result<CheckReport> report = store.check(soon());
    ASSERT_TRUE(report.has_value()) << report.error().to_string();
    for (const auto& finding : report->findings) {
        ADD_FAILURE() << finding.run_id << " " << finding.snapshot_id << ": " << finding.problem;
    }
}

// Commits versions `from` to `until` of `run`, and calls `told` with each after its commit. Returns the number of
// commits that failed.
template <class Told>
int save_versions(Store& store, const std::string& run, std::int64_t from, std::int64_t until, Told told) {
    int failures = 0;
    for (std::int64_t version = from; version <= until; ++version) {
        const Status status = commit_run(store, make_batch(make_snapshot(run, version)), soon());
        if (!status) fmt::print(stderr, "{}\n", status.error().to_string());
        failures += status ? 0 : 1;
        told(version);
    }
    return failures;
}

int save_in_child(const std::filesystem::path& path, const std::string& run, std::int64_t versions) {
    const auto store = open_sqlite_store(path);
    if (!store) return 2;
    return save_versions(**store, run, 1, versions, [](std::int64_t) {}) == 0 ? 0 : 1;
}

TEST(SqliteProcesses, TwoWritersOfOneFileBothFinishWithGaplessVersions) {
    const TempDir dir;
    constexpr std::int64_t kVersions = 150;
    ChildProcess first([&](const Channel&) { return save_in_child(dir / "cairn.db", "a", kVersions); });
    ChildProcess second([&](const Channel&) { return save_in_child(dir / "cairn.db", "b", kVersions); });
    EXPECT_EQ(first.wait(), 0);
    EXPECT_EQ(second.wait(), 0);

    const auto store = open_sqlite_store(dir / "cairn.db", {.create = false}).value();
    for (const std::string run : {"a", "b"}) {
        const auto history = store->history({.run_id = run, .limit = 1000}, soon()).value();
        ASSERT_EQ(history.size(), kVersions);
        for (std::int64_t i = 0; i < kVersions; ++i) {
            EXPECT_EQ(history[static_cast<std::size_t>(i)].version, kVersions - i);
        }
    }
    expect_sound(*store);
}

// Each child takes the lease over again and again, and saves as its holder.
TEST(SqliteProcesses, EveryEpochOfALeaseHasOneHolderAndNobodyElseSavesUnderIt) {
    const TempDir dir;
    constexpr std::int64_t kEach = 40;
    const auto body = [&](std::string name) {
        return [&dir, name](const Channel&) {
            const auto store = open_sqlite_store(dir / "cairn.db");
            if (!store) return 2;
            for (std::int64_t claimed = 0; claimed < kEach;) {
                const auto found = (*store)->lease("run", soon());
                if (!found) return 3;
                const Lease before = *found ? (*found)->lease : Lease{};
                const Lease mine{.owner = name, .epoch = before.epoch + 1};
                const Status taken = commit_run(
                    **store, {.run_id = "run", .lease = LeaseWrite{.lease = mine, .expected = before}}, soon());
                if (!taken && taken.error().code != ErrorCode::kConflict) return 4;
                if (!taken) continue;
                ++claimed;
                const auto head = (*store)->head("run", soon());
                if (!head) return 5;
                const std::int64_t before_mine = *head ? (*head)->version : 0;
                if (before_mine > mine.epoch) continue;  // superseded already
                // The epoch is also the version, so two holders of one epoch could not both save.
                Snapshot snapshot = make_snapshot("run", mine.epoch);
                snapshot.info.snapshot_id = fmt::format("{}-{}", name, mine.epoch);
                const SnapshotWrite write{
                    .snapshot = std::move(snapshot), .expected_version = before_mine, .lease = mine};
                const Status saved = commit_run(**store, {.run_id = "run", .writes = {write}}, soon());
                if (!saved && saved.error().code != ErrorCode::kConflict) return 6;
                if (saved) continue;
                // A save may fail only because its holder was superseded; nobody else may write under this epoch.
                const auto now = (*store)->lease("run", soon());
                if (!now || !*now || (*now)->lease.epoch <= mine.epoch) return 7;
            }
            return 0;
        };
    };
    ChildProcess first(body("a"));
    ChildProcess second(body("b"));
    EXPECT_EQ(first.wait(), 0);
    EXPECT_EQ(second.wait(), 0);
    const auto store = open_sqlite_store(dir / "cairn.db", {.create = false}).value();
    EXPECT_EQ(store->lease("run", soon()).value()->lease.epoch, 2 * kEach) << "an epoch was given twice, or none";
    expect_sound(*store);
}

TEST(SqliteProcesses, WritersOfOneRunConflictAndLoseNothing) {
    const TempDir dir;
    constexpr std::int64_t kEach = 60;
    const auto body = [&](std::string name) {
        return [&dir, name](const Channel&) {
            const auto store = open_sqlite_store(dir / "cairn.db");
            if (!store) return 2;
            for (std::int64_t saved = 0; saved < kEach;) {
                const auto head = (*store)->head("run", soon());
                if (!head) return 3;
                const std::int64_t version = *head ? (*head)->version : 0;
                Snapshot snapshot = make_snapshot("run", version + 1);
                snapshot.info.snapshot_id = fmt::format("{}-{}", name, saved);
                const Status status = commit_run(**store, make_batch(std::move(snapshot)), soon());
                if (!status && status.error().code != ErrorCode::kConflict) return 4;
                saved += status ? 1 : 0;
            }
            return 0;
        };
    };
    ChildProcess first(body("a"));
    ChildProcess second(body("b"));
    EXPECT_EQ(first.wait(), 0);
    EXPECT_EQ(second.wait(), 0);
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    EXPECT_EQ(store->head("run", soon()).value()->version, 2 * kEach);
    EXPECT_EQ(store->history({.run_id = "run", .limit = 1000}, soon()).value().size(), 2 * kEach);
    expect_sound(*store);
}

void create_at_once(const std::filesystem::path& path) {
    std::vector<std::unique_ptr<ChildProcess>> children;
    for (int i = 0; i < 8; ++i) {
        children.push_back(std::make_unique<ChildProcess>([&path, i](const Channel& parent) {
            parent.hear();
            return save_in_child(path, fmt::format("run{}", i), 2);
        }));
    }
    for (const auto& child : children) child->channel().say(1);
    for (const auto& child : children) EXPECT_EQ(child->wait(), 0);
    const auto store = open_sqlite_store(path).value();
    EXPECT_EQ(store->stats(soon()).value().snapshots, 16U);
    expect_sound(*store);
}

TEST(SqliteProcesses, ManyThatCreateOneStoreAtOnceAllSucceed) {
    for (int round = 0; round < 6; ++round) {
        const TempDir dir;
        create_at_once(dir / "cairn.db");
        const auto files = std::distance(std::filesystem::directory_iterator(dir.path()), {});
        EXPECT_EQ(files, 1) << "something was left beside the database";
    }
}

TEST(SqliteProcesses, ManyThatFillOneEmptyFileAtOnceAllSucceed) {
    for (int round = 0; round < 6; ++round) {
        const TempDir dir;
        std::fclose(std::fopen((dir / "cairn.db").c_str(), "w"));
        create_at_once(dir / "cairn.db");
    }
}

TEST(SqliteProcesses, AHeadMovedByAnotherProcessIsSeenAtOnce) {
    const TempDir dir;
    ChildProcess other([&](const Channel& parent) {
        while (const auto version = parent.hear()) {
            const auto store = open_sqlite_store(dir / "cairn.db").value();
            if (!commit_run(*store, make_batch(make_snapshot("run", *version)), soon())) return 1;
            parent.say(*version);
        }
        return 0;
    });
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    for (std::int64_t version = 1; version < 40; version += 2) {
        ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", version)), soon()).has_value());
        ASSERT_EQ(store->head("run", soon()).value()->version, version);
        other.channel().say(version + 1);
        ASSERT_EQ(other.channel().hear(), version + 1);
        const auto head = store->head("run", soon()).value();
        EXPECT_EQ(head->version, version + 1);
        EXPECT_EQ(head->snapshot_id, fmt::format("run-{}", version + 1));
        EXPECT_EQ(store->get("run", std::nullopt, soon()).value()->info.version, version + 1);
    }
}

// Every time, other commits are cut short at other moments. The expectation is always the same.
TEST(SqliteProcesses, EveryCommitThatAKilledWriterAcknowledgedIsThere) {
    const TempDir dir;
    std::mt19937 random(20);
    std::int64_t acknowledged = 0;
    for (int round = 0; round < 20; ++round) {
        ChildProcess writer([&](const Channel& parent) {
            const auto store = open_sqlite_store(dir / "cairn.db").value();
            const auto head = store->head("run", soon()).value();
            const std::string text = fmt::format(R"({{"filler":"{}"}})", std::string(20'000, 'x'));
            for (std::int64_t version = head ? head->version + 1 : 1;; ++version) {
                if (!commit_run(*store, make_batch(make_snapshot("run", version, text)), soon())) return 1;
                parent.say(version);
            }
        });
        // Let it write at least so many versions, and kill it in the middle of the next ones.
        for (auto n = random() % 40; n > 0; --n) acknowledged = writer.channel().hear().value();
        EXPECT_EQ(::kill(writer.pid(), SIGKILL), 0);
        while (const auto version = writer.channel().hear()) acknowledged = *version;
        EXPECT_EQ(writer.wait(), -SIGKILL);

        const auto store = open_sqlite_store(dir / "cairn.db").value();
        const auto head = store->head("run", soon()).value();
        const std::int64_t version = head ? head->version : 0;
        ASSERT_GE(version, acknowledged);
        ASSERT_EQ(store->history({.run_id = "run", .limit = 100'000}, soon()).value().size(), version);
        expect_sound(*store);
        ASSERT_TRUE(store->close().has_value());
    }
    EXPECT_GT(acknowledged, 0);
}

TEST(SqliteProcesses, ACommitWaitsForALockAndSucceedsAfterItsRelease) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    auto lock = std::make_unique<WriteLock>(dir / "cairn.db");
    ASSERT_TRUE(lock->held());
    std::atomic<bool> released = false;
    std::thread writer([&] {
        const Status status = commit_run(*store, make_batch(make_snapshot("run", 1)), soon());
        EXPECT_TRUE(status.has_value()) << status.error().to_string();
        EXPECT_TRUE(released) << "the commit did not wait for the lock";
    });
    EXPECT_FALSE(store->head("run", soon()).value().has_value()) << "readers do not wait for writers";
    released = true;
    lock.reset();
    writer.join();
    EXPECT_EQ(store->head("run", soon()).value()->version, 1);
}

TEST(SqliteProcesses, ACommitThatMeetsALockUntilItsDeadlineIsUnavailableAndNotApplied) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    const RunBatch batch = make_batch(make_snapshot("run", 1));
    {
        const WriteLock lock(dir / "cairn.db");
        ASSERT_TRUE(lock.held());
        const Status status = commit_run(*store, batch, std::chrono::steady_clock::now() + milliseconds(120));
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error().code, ErrorCode::kUnavailable);
        EXPECT_NE(status.error().message.find("locked"), std::string::npos) << status.error().message;
        EXPECT_FALSE(store->head("run", soon()).value().has_value());
    }
    EXPECT_TRUE(commit_run(*store, batch, soon()).has_value()) << "the same batch is welcome later";
}

TEST(SqliteProcesses, ACommitWithAPastDeadlineStillSucceedsIfNothingIsInTheWay) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    EXPECT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), Deadline::min()).has_value());
    EXPECT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 2)), Deadline::max()).has_value());
}

TEST(SqliteProcesses, MoreReadersThanConnectionsTakeTurns) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db", {}, {.readers_max = 2}).value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    std::vector<std::thread> readers;
    for (int i = 0; i < 12; ++i) {
        readers.emplace_back([&] {
            for (int n = 0; n < 100; ++n) EXPECT_EQ(store->head("run", soon()).value()->version, 1);
        });
    }
    for (std::thread& reader : readers) reader.join();
}

TEST(SqliteProcesses, AForkedChildIsRefusedAndItsParentGoesOn) {
    const TempDir dir;
    auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    ChildProcess child([&](const Channel&) {
        const auto head = store->head("run", soon());
        if (head || head.error().code != ErrorCode::kClosed) return 1;
        const auto again = open_sqlite_store(dir / "cairn.db");
        if (again || again.error().code != ErrorCode::kInvalidArgument) return 2;
        if (!open_sqlite_store(dir / "other.db")) return 3;
        if (!store->close()) return 4;
        store.reset();
        return 0;
    });
    EXPECT_EQ(child.wait(), 0);
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 2)), soon()).has_value());
    EXPECT_EQ(store->head("run", soon()).value()->version, 2);
    expect_sound(*store);

    ASSERT_TRUE(store->close().has_value());
    ChildProcess later([&](const Channel&) { return open_sqlite_store(dir / "cairn.db") ? 0 : 1; });
    EXPECT_EQ(later.wait(), 0) << "after the parent has closed its store, a child may open the file";
}

// In the child, locks that other threads hold at the fork, the engine's included, would stay locked for ever.
TEST(SqliteProcesses, AChildForkedWhileOthersUseAStoreCanOpenAnother) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    std::atomic<bool> is_over = false;
    std::vector<std::thread> others;
    others.emplace_back([&] {
        for (std::int64_t version = 1; !is_over; ++version) {
            EXPECT_TRUE(commit_run(*store, make_batch(make_snapshot("run", version)), soon()).has_value());
        }
    });
    for (int i = 0; i < 3; ++i) {
        others.emplace_back([&] {
            while (!is_over) EXPECT_TRUE(store->history({.run_id = "run"}, soon()).has_value());
        });
    }
    for (int i = 0; i < 60; ++i) {
        ChildProcess child([&](const Channel&) {
            ::alarm(30);  // a child that hangs is killed
            return save_in_child(dir / "other.db", "run-" + std::to_string(i), 3);
        });
        EXPECT_EQ(child.wait(), 0);
    }
    is_over = true;
    for (std::thread& other : others) other.join();
    expect_sound(*store);
}

TEST(SqliteProcesses, AFileDeletedUnderTheStoreIsNoticedBeforeTheNextCall) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    ASSERT_TRUE(store->head("run", soon()).value().has_value());
    std::filesystem::rename(dir / "cairn.db", dir / "moved.db");
    std::filesystem::remove(dir / "cairn.db-wal");
    std::filesystem::remove(dir / "cairn.db-shm");
    const Status status = commit_run(*store, make_batch(make_snapshot("run", 2)), soon());
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::kUnavailable) << status.error().to_string();
    const auto head = store->head("run", soon());
    ASSERT_FALSE(head.has_value());
    EXPECT_EQ(head.error().code, ErrorCode::kUnavailable) << head.error().to_string();
}

TEST(SqliteProcesses, ClosingMovesTheLogIntoTheFile) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    ASSERT_TRUE(store->head("run", soon()).has_value());
    ASSERT_TRUE(store->close().has_value());
    EXPECT_FALSE(std::filesystem::exists(dir / "cairn.db-wal"));
    EXPECT_FALSE(std::filesystem::exists(dir / "cairn.db-shm"));
    EXPECT_EQ(store->head("run", soon()).error().code, ErrorCode::kClosed);
}

TEST(SqliteProcesses, StatsGiveTheLogsSpaceBackAndNeverWaitForOthers) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    {
        const WriteLock lock(dir / "cairn.db");
        ASSERT_TRUE(lock.held());
        EXPECT_EQ(store->stats(soon()).value().snapshots, 1U);
    }
    const auto stats = store->stats(soon()).value();
    EXPECT_EQ(std::filesystem::file_size(dir / "cairn.db-wal"), 0U);
    EXPECT_EQ(stats.store_bytes, std::filesystem::file_size(dir / "cairn.db"));
}

}  // namespace
}  // namespace cairn::test
