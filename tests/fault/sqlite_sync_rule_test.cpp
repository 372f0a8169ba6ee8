// Goal: show a rule of the engine that a design may rely on. In a write-ahead log, a commit with synchronous = FULL
// hardens the earlier commits with synchronous = NORMAL, whichever connection made them. A NORMAL commit alone can be
// lost.
// Method: without any code of cairn, numbered rows are committed through the engine. A seed chooses the levels and the
// checkpoints in between, and power is lost at every write and sync. Then exactly the rows 1 to some N must be found,
// and N must be at least the last row at the time of the last acknowledged FULL commit.

#include "support/power_loss_vfs.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

struct Close {
    void operator()(sqlite3* database) const { sqlite3_close(database); }
};
using Database = std::unique_ptr<sqlite3, Close>;

void execute(sqlite3* database, const std::string& sql) {
    ASSERT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(database);
}

std::string query(sqlite3* database, const std::string& sql) {
    std::string answer;
    const auto keep = [](void* out, int, char** values, char**) {
        *static_cast<std::string*>(out) = values[0] == nullptr ? "NULL" : values[0];
        return 0;
    };
    if (sqlite3_exec(database, sql.c_str(), keep, &answer, nullptr) != SQLITE_OK) return sqlite3_errmsg(database);
    return answer;
}

Database open(const fs::path& path) {
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
    return Database(database);
}

// A moment at which power is lost: the disk at that moment, and the last row that the rule promises.
struct Crash {
    DiskImage disk;
    int hardened = 0;
    int committed = 0;
};

class SyncRule : public testing::Test {
protected:
    void SetUp() override {
        const Database database = open(path_);
        execute(database.get(),
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                "CREATE TABLE lines(number INTEGER PRIMARY KEY, filler BLOB);");
    }

    // Commits rows, `full_percent` percent of them FULL, each through one of `connections` connections.
    std::vector<Crash> commit_rows(int full_percent, int connections) {
        std::vector<Crash> crashes;
        PowerLossVfs vfs(dir_.path());
        std::vector<Database> databases;
        databases.reserve(static_cast<std::size_t>(connections));
        for (int i = 0; i < connections; ++i) databases.push_back(open(path_));
        int hardened = 0;
        int committed = 0;
        vfs.watch([&](const auto& /*moment*/, const auto& take) {
            crashes.push_back({.disk = take(), .hardened = hardened, .committed = committed});
        });
        for (int number = 1; number <= 60; ++number) {
            sqlite3* const database = databases[random_() % databases.size()].get();
            const bool is_full = static_cast<int>(random_() % 100) < full_percent;
            execute(database, is_full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
            execute(database, fmt::format("INSERT INTO lines VALUES({}, randomblob({}))", number, random_() % 9000));
            committed = number;
            if (is_full) hardened = number;
            if (random_() % 12 == 0) query(database, "PRAGMA wal_checkpoint(PASSIVE)");
            if (random_() % 25 == 0) query(database, "PRAGMA wal_checkpoint(TRUNCATE)");
        }
        vfs.watch(nullptr);
        return crashes;
    }

    // Returns the number of rows after a power loss. Returns -1 if the database is not sound, or has not the rows 1 to
    // N.
    int rows_after(const Crash& crash) {
        const TempDir folder(memory_folder());
        crash.disk.write_survivor(folder.path(),
                                  {.seed = random_(), .sector_bytes = random_() % 2 == 0 ? 512U : 4096U});
        const Database database = open(folder / "rows.db");
        if (query(database.get(), "PRAGMA integrity_check") != "ok") return -1;
        const std::string rows = query(database.get(), "SELECT count(*) FROM lines");
        const std::string newest = query(database.get(), "SELECT ifnull(max(number), 0) FROM lines");
        return rows == newest ? std::stoi(rows) : -1;
    }

    void expect_the_rule(int connections) {
        for (int round = 0; round < 6; ++round) {
            for (const Crash& crash : commit_rows(30, connections)) {
                const int rows = rows_after(crash);
                ASSERT_GE(rows, crash.hardened);
                ASSERT_LE(rows, crash.committed + 1);
            }
            TearDown();
            SetUp();
        }
    }

    void TearDown() override {
        for (const char* name : {"rows.db", "rows.db-wal", "rows.db-shm"}) fs::remove(dir_ / name);
    }

    std::uint64_t seed_ = seed();
    testing::ScopedTrace trace_{__FILE__, __LINE__, replay_line(seed_)};
    std::mt19937_64 random_{seed_};
    TempDir dir_{memory_folder()};
    fs::path path_ = dir_ / "rows.db";
};

TEST_F(SyncRule, AFullCommitHardensTheNormalOnesBeforeItOnItsConnection) {
    expect_the_rule(1);
}

TEST_F(SyncRule, AFullCommitHardensTheNormalOnesOfOtherConnectionsToo) {
    expect_the_rule(3);
}

// Without this test, the two above would show nothing.
TEST_F(SyncRule, NormalCommitsAloneAreLostButTheDatabaseStaysSound) {
    std::size_t lost = 0;
    for (const Crash& crash : commit_rows(0, 1)) {
        const int rows = rows_after(crash);
        ASSERT_GE(rows, 0);
        lost += rows < crash.committed ? 1 : 0;
    }
    EXPECT_GT(lost, 0U);
}

}  // namespace
}  // namespace cairn::test
