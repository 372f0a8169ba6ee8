// Goal: a process may read and copy the files of its own open store, fork, and use other databases, and keeps its locks
// on the store. Other processes neither take the log away nor write at the same time.
// Method: real second processes, which die as by a power switch. Copies are made as a backup inside the program would
// make them. The system is asked whose lock is in the way.

#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/temp_dir.h"
#include "support/write_lock.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include <fcntl.h>
#include <unistd.h>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

// Copies as a backup with ordinary calls does: opens, reads and closes each of the files.
void copy_the_files(const fs::path& database) {
    for (const char* suffix : {"", "-wal", "-shm"}) static_cast<void>(content_of(database.native() + suffix));
}

bool save(Store& store, const std::string& run, std::int64_t version) {
    const std::string text = fmt::format(R"({{"filler":"{}"}})", std::string(5'000, 'x'));
    return commit_run(store, make_batch(make_snapshot(run, version, text)), soon()).has_value();
}

void expect_versions(Store& store, const std::string& run, std::int64_t version) {
    const auto head = store.head(run, soon());
    ASSERT_TRUE(head.has_value()) << head.error().to_string();
    ASSERT_TRUE(head->has_value()) << run;
    EXPECT_EQ((*head)->version, version) << run;
    EXPECT_EQ(store.history({.run_id = run, .limit = 1000}, soon()).value().size(), version) << run;
}

void expect_sound(Store& store) {
    const Result<CheckReport> report = store.check(soon());
    ASSERT_TRUE(report.has_value()) << report.error().to_string();
    for (const auto& finding : report->findings) ADD_FAILURE() << finding.run_id << ": " << finding.problem;
}

// Asks, in another process, who locks the file. Returns a process's id, -1 for a lock of an open file, or 0 for nobody.
std::int64_t locker_of(const fs::path& path) {
    ChildProcess asks([&](const Channel& parent) {
        const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
        struct flock lock{.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
        if (descriptor < 0 || ::fcntl(descriptor, F_GETLK, &lock) != 0) return 1;
        parent.say(lock.l_type == F_UNLCK ? 0 : lock.l_pid);
        return 0;
    });
    const auto locker = asks.channel().hear();
    EXPECT_EQ(asks.wait(), 0);
    return locker.value_or(-2);
}

TEST(SqliteLocks, AProcessThatCopiesItsOwnOpenStoreKeepsItsLog) {
    const TempDir dir;
    constexpr std::int64_t kBefore = 5;
    constexpr std::int64_t kAfter = 10;
    ChildProcess copier([&](const Channel& parent) {
        const auto store = open_sqlite_store(dir / "cairn.db");
        if (!store) return 1;
        for (std::int64_t version = 1; version <= kBefore; ++version) {
            if (!save(**store, "run", version)) return 2;
        }
        copy_the_files(dir / "cairn.db");
        parent.say(kBefore);
        if (!parent.hear()) return 3;
        for (std::int64_t version = kBefore + 1; version <= kAfter; ++version) {
            if (!save(**store, "run", version)) return 4;
        }
        std::_Exit(0);  // without closing: the last saves are only in the log
        return 0;
    });
    ASSERT_EQ(copier.channel().hear(), kBefore);
    {
        const auto other = open_sqlite_store(dir / "cairn.db").value();
        ASSERT_TRUE(save(*other, "other", 1));
        ASSERT_TRUE(other->close().has_value());
    }
    EXPECT_TRUE(fs::exists(dir / "cairn.db-wal")) << "the log was taken from under a process that has it open";
    copier.channel().say(1);
    ASSERT_EQ(copier.wait(), 0);

    const auto store = open_sqlite_store(dir / "cairn.db").value();
    expect_versions(*store, "run", kAfter);
    expect_versions(*store, "other", 1);
    expect_sound(*store);
}

TEST(SqliteLocks, CopiesBetweenTheSavesOfTwoProcessesLoseNothing) {
    const TempDir dir;
    constexpr std::int64_t kRounds = 60;
    ChildProcess copier([&](const Channel& parent) {
        const auto store = open_sqlite_store(dir / "cairn.db");
        if (!store) return 1;
        for (std::int64_t round = 1; round <= kRounds; ++round) {
            if (!save(**store, "run", round)) return 2;
            copy_the_files(dir / "cairn.db");
            parent.say(round);
            if (!parent.hear()) return 3;
        }
        copy_the_files(dir / "cairn.db");
        return (*store)->close() ? 0 : 4;
    });
    while (const auto round = copier.channel().hear()) {
        const auto other = open_sqlite_store(dir / "cairn.db").value();
        EXPECT_TRUE(save(*other, fmt::format("other-{}", *round), 1));
        ASSERT_TRUE(other->close().has_value());
        copier.channel().say(1);
    }
    ASSERT_EQ(copier.wait(), 0);
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    expect_versions(*store, "run", kRounds);
    EXPECT_EQ(store->runs({.limit = 1000}, soon()).value().items.size(), kRounds + 1);
    expect_sound(*store);
}

TEST(SqliteLocks, ALockOfAnotherProgramAndOneOfOursExcludeEachOther) {
    const TempDir dir;
    ChildProcess other([&](const Channel& parent) {
        while (parent.hear()) {
            auto lock = std::make_unique<WriteLock>(dir / "cairn.db");
            parent.say(lock->held() ? 1 : 0);
            parent.hear();
            lock.reset();
            parent.say(2);
        }
        return 0;
    });
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(save(*store, "run", 1));

    other.channel().say(1);
    ASSERT_EQ(other.channel().hear(), 1) << "the other program could not lock a store that is idle";
    const Deadline at_once = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    const Status status = commit_run(*store, make_batch(make_snapshot("run", 2)), at_once);
    ASSERT_FALSE(status.has_value()) << "two processes had the write lock";
    EXPECT_EQ(status.error().code, ErrorCode::kUnavailable) << status.error().to_string();
    other.channel().say(1);
    ASSERT_EQ(other.channel().hear(), 2);

    {
        const WriteLock lock(dir / "cairn.db");
        ASSERT_TRUE(lock.held());
        other.channel().say(1);
        EXPECT_EQ(other.channel().hear(), 0) << "two processes had the write lock";
        other.channel().say(1);
        ASSERT_EQ(other.channel().hear(), 2);
    }
    EXPECT_TRUE(save(*store, "run", 2));
}

TEST(SqliteLocks, AForkedChildDoesNotKeepTheWriteLockOfItsDeadParent) {
    const TempDir dir;
    ChildProcess parent_to_be([&](const Channel& parent) {
        const auto store = open_sqlite_store(dir / "cairn.db");
        if (!store || !save(**store, "run", 1)) return 1;
        const WriteLock lock(dir / "cairn.db");
        if (!lock.held()) return 2;
        const pid_t child = ::fork();
        if (child == 0) {
            ::pause();  // it lives on with everything that it has inherited
            std::_Exit(0);
        }
        parent.say(child);
        ::pause();
        return 0;
    });
    const auto child = parent_to_be.channel().hear();
    ASSERT_TRUE(child.has_value());
    parent_to_be.kill();
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    EXPECT_TRUE(save(*store, "run", 2)) << "the child keeps the lock";
    expect_versions(*store, "run", 2);
    ::kill(static_cast<pid_t>(*child), SIGKILL);
}

TEST(SqliteLocks, OnlyTheLocksOfStoresBelongToOpenFiles) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(save(*store, "run", 1));
    EXPECT_EQ(locker_of(dir / "cairn.db"), -1);
    EXPECT_EQ(locker_of(dir / "cairn.db-shm"), -1);
    execute(dir / "other.db", "CREATE TABLE t(x)");
    const WriteLock other(dir / "other.db");
    ASSERT_TRUE(other.held());
    EXPECT_EQ(locker_of(dir / "other.db"), ::getpid());

    ASSERT_TRUE(store->close().has_value());
    EXPECT_EQ(locker_of(dir / "cairn.db"), 0) << "a lock outlived the store";
}

TEST(SqliteLocks, AProgramsOwnConnectionOfBeforeKeepsWorkingBesideTheStore) {
    const TempDir dir;
    ASSERT_TRUE(open_sqlite_store(dir / "cairn.db").value()->close().has_value());
    auto before = std::make_unique<WriteLock>(dir / "cairn.db");
    ASSERT_TRUE(before->held());
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    const Deadline at_once = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    EXPECT_EQ(commit_run(*store, make_batch(make_snapshot("run", 1)), at_once).error().code, ErrorCode::kUnavailable);
    before.reset();
    EXPECT_TRUE(save(*store, "run", 1));
    ASSERT_TRUE(store->close().has_value());
    EXPECT_FALSE(fs::exists(dir / "cairn.db-wal")) << "a lock of the connection of before was left";
}

// A call that asks for locks sees those of the other process, and not this process's own.
TEST(SqliteLocks, AProgramsOwnConnectionOfBeforeIsSeenThroughTheLocksOfAnotherProcess) {
    const TempDir dir;
    ChildProcess other([&](const Channel& parent) {
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        if (!save(*store, "other", 1)) return 1;
        parent.say(1);
        parent.hear();
        return save(*store, "other", 2) ? 0 : 2;
    });
    ASSERT_TRUE(other.channel().hear().has_value());
    sqlite3* own = nullptr;
    ASSERT_EQ(sqlite3_open((dir / "cairn.db").c_str(), &own), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(own, "SELECT count(*) FROM runs", nullptr, nullptr, nullptr), SQLITE_OK);
    {
        const auto store = open_sqlite_store(dir / "cairn.db");
        ASSERT_TRUE(store.has_value()) << store.error().to_string();
        EXPECT_TRUE(save(**store, "run", 1));
        other.channel().say(1);
        EXPECT_EQ(other.wait(), 0);
        expect_versions(**store, "other", 2);
    }
    sqlite3_close(own);
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    expect_versions(*store, "run", 1);
    expect_sound(*store);
}

// A connection of the program's own that has read. It has a lock on the database until it is closed.
class OwnReader {
public:
    explicit OwnReader(const fs::path& path) {
        sqlite3_open(path.c_str(), &database_);
        EXPECT_EQ(sqlite3_exec(database_, "SELECT count(*) FROM runs", nullptr, nullptr, nullptr), SQLITE_OK);
    }
    ~OwnReader() { sqlite3_close(database_); }
    OwnReader(const OwnReader&) = delete;
    OwnReader& operator=(const OwnReader&) = delete;

private:
    sqlite3* database_ = nullptr;
};

TEST(SqliteLocks, AStoreThatIsClosedLeavesTheLocksOfAConnectionOfBefore) {
    const TempDir dir;
    ASSERT_TRUE(open_sqlite_store(dir / "cairn.db").value()->close().has_value());
    const OwnReader before(dir / "cairn.db");
    ASSERT_EQ(locker_of(dir / "cairn.db"), ::getpid());
    {
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        ASSERT_TRUE(save(*store, "run", 1));
    }
    EXPECT_EQ(locker_of(dir / "cairn.db"), ::getpid());
}

// The program has a connection that is older than the store. Then the store's locks belong to the process, and copying
// a file drops them. The next save takes them anew.
TEST(SqliteLocks, ACopyBesideAConnectionOfBeforeLosesNothingBehindTheNextSave) {
    const TempDir dir;
    ChildProcess other([&](const Channel& parent) {
        if (!parent.hear()) return 1;
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        return save(*store, "other", 1) && store->close() ? 0 : 2;
    });
    ASSERT_TRUE(open_sqlite_store(dir / "cairn.db").value()->close().has_value());
    auto before = std::make_unique<OwnReader>(dir / "cairn.db");
    {
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        ASSERT_TRUE(save(*store, "run", 1));
        static_cast<void>(content_of(dir / "cairn.db"));
        ASSERT_EQ(locker_of(dir / "cairn.db"), 0) << "the copy was to drop the locks";
        ASSERT_TRUE(save(*store, "run", 2));
        EXPECT_EQ(locker_of(dir / "cairn.db"), ::getpid());
        other.channel().say(1);
        EXPECT_EQ(other.wait(), 0);
        EXPECT_TRUE(fs::exists(dir / "cairn.db-wal")) << "the other process took the log away";
        EXPECT_TRUE(save(*store, "run", 3));
        before.reset();
        EXPECT_TRUE(save(*store, "run", 4));
    }
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    expect_versions(*store, "run", 4);
    expect_versions(*store, "other", 1);
    expect_sound(*store);
}

// The copy drops the process's locks. Another process that then takes the log away does no damage.
TEST(SqliteLocks, ALogThatWasTakenAwayBesideAConnectionOfBeforeIsNoDamage) {
    const TempDir dir;
    ChildProcess other([&](const Channel& parent) {
        if (!parent.hear()) return 1;
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        return save(*store, "other", 1) && store->close() ? 0 : 2;
    });
    // Reads the database without looking at its locks.
    ChildProcess reader([&](const Channel& parent) {
        if (!parent.hear()) return 1;
        const std::string uri = fmt::format("file:{}?immutable=1", (dir / "cairn.db").native());
        sqlite3* own = nullptr;
        sqlite3_stmt* count = nullptr;
        sqlite3_open_v2(uri.c_str(), &own, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, nullptr);
        sqlite3_prepare_v2(own, "SELECT count(*) FROM snapshots", -1, &count, nullptr);
        return sqlite3_step(count) == SQLITE_ROW && sqlite3_column_int(count, 0) == 2 ? 0 : 2;
    });
    ASSERT_TRUE(open_sqlite_store(dir / "cairn.db").value()->close().has_value());
    const OwnReader before(dir / "cairn.db");
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(save(*store, "run", 1));
    static_cast<void>(content_of(dir / "cairn.db"));
    other.channel().say(1);
    ASSERT_EQ(other.wait(), 0);
    ASSERT_FALSE(fs::exists(dir / "cairn.db-wal"));
    for (int attempt = 0; attempt < 3; ++attempt) {
        const Status refused = commit_run(*store, make_batch(make_snapshot("run", 2)), soon());
        ASSERT_FALSE(refused.has_value());
        EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable) << refused.error().to_string();
    }
    reader.channel().say(1);
    EXPECT_EQ(reader.wait(), 0) << "an acknowledged save is gone";
}

}  // namespace
}  // namespace cairn::test
