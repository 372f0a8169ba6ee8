// Goal: a log is used only with the database that it belongs to, and then as a whole. A log that does not belong is
// kept under another name, and that is logged. No commit is acknowledged if nobody can find its log or database again.
// Method: processes that die without closing leave logs. Files are removed, exchanged, cut off and damaged as operators
// and disks do it, while nobody has the store open, and under an open store.

#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::size_t kLogHeaderBytes = 32;
constexpr std::size_t kFrameBytes = 24 + 8192;

void write_file(const fs::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

Status save(Store& store, const std::string& run, std::int64_t version, std::size_t bytes = 500) {
    const std::string text = fmt::format(R"({{"filler":"{}"}})", std::string(bytes, 'x'));
    return commit_run(store, make_batch(make_snapshot(run, version, text)), soon());
}

// Saves these versions in a process that dies without closing. The last of them are only in its log.
void save_and_die(const fs::path& database, const std::string& run, std::int64_t from, std::int64_t until,
                  std::size_t bytes = 500) {
    ChildProcess child([&](const Channel&) {
        const auto store = open_sqlite_store(database);
        if (!store) return 1;
        for (std::int64_t version = from; version <= until; ++version) {
            if (!save(**store, run, version, bytes)) return 2;
        }
        std::_Exit(0);
        return 0;
    });
    ASSERT_EQ(child.wait(), 0);
    ASSERT_NE(fs::file_size(database.native() + "-wal"), 0U);
}

std::vector<fs::path> files_with(const fs::path& folder, const std::string& part) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.path().filename().native().find(part) != std::string::npos) found.push_back(entry.path());
    }
    return found;
}

std::int64_t head_of(Store& store, const std::string& run) {
    const auto head = store.head(run, soon());
    EXPECT_TRUE(head.has_value()) << head.error().to_string();
    return head && *head ? (*head)->version : 0;
}

std::vector<std::string> problems_of(Store& store) {
    std::vector<std::string> problems;
    const auto report = store.check(soon());
    EXPECT_TRUE(report.has_value()) << report.error().to_string();
    if (report) {
        for (const auto& finding : report->findings) problems.push_back(finding.problem);
    }
    return problems;
}

void expect_whole(const fs::path& database, const std::string& run, std::int64_t version) {
    const auto store = open_sqlite_store(database, {.create = false});
    ASSERT_TRUE(store.has_value()) << store.error().to_string();
    EXPECT_EQ(head_of(**store, run), version);
    EXPECT_EQ((*store)->history({.run_id = run, .limit = 100'000}, soon()).value().size(), version);
    EXPECT_THAT(problems_of(**store), testing::IsEmpty());
}

// Collects the log records about logs that were set aside while opening.
struct Told {
    std::vector<std::string> messages = {};

    OpenOptions options() {
        return {.runtime = {.log = [this](const LogRecord& record) {
                    if (record.event == "store_log_set_aside") messages.push_back(record.message);
                }}};
    }
};

// ---- while nobody has the store open ----

TEST(SqliteLogs, ALogThatWasLeftWithoutItsDatabaseIsKeptAsideWhenAStoreIsMadeThere) {
    for (const bool is_empty_file : {false, true}) {
        const TempDir dir;
        save_and_die(dir / "cairn.db", "old", 1, 40, 3'000);
        const std::string log = content_of(dir / "cairn.db-wal");
        fs::remove(dir / "cairn.db");
        if (is_empty_file) write_file(dir / "cairn.db", "");
        Told told;
        {
            const auto store = open_sqlite_store(dir / "cairn.db", told.options()).value();
            EXPECT_EQ(head_of(*store, "old"), 0);
            for (std::int64_t version = 1; version <= 5; ++version) ASSERT_TRUE(save(*store, "new", version, 5'000));
        }
        expect_whole(dir / "cairn.db", "new", 5);
        const auto kept = files_with(dir.path(), "cairn.db-wal.stale-");
        ASSERT_EQ(kept.size(), 1U);
        EXPECT_TRUE(content_of(kept.front()) == log);
        ASSERT_EQ(told.messages.size(), 1U);
        EXPECT_THAT(told.messages.front(), HasSubstr(kept.front().native()));
    }
}

// The writer goes through many logs. The database's counter of changes alone could not tell them apart.
TEST(SqliteLogs, ALogBesideARestoredBackupIsKeptAside) {
    const TempDir dir;
    const fs::path database = dir / "cairn.db";
    {
        const auto store = open_sqlite_store(database).value();
        for (std::int64_t version = 1; version <= 30; ++version) ASSERT_TRUE(save(*store, "run", version));
    }
    const std::string monday = content_of(database);
    save_and_die(database, "run", 31, 1'500, 8'000);
    const std::string log = content_of(database.native() + "-wal");
    write_file(database, monday);

    const auto reader = open_sqlite_store(database, {.read_only = true});
    ASSERT_FALSE(reader.has_value()) << "a reader replays a log that does not belong";
    EXPECT_EQ(reader.error().code, ErrorCode::kReadOnly);
    EXPECT_THAT(reader.error().message, HasSubstr("open it once for writing"));

    Told told;
    {
        const auto store = open_sqlite_store(database, told.options()).value();
        EXPECT_EQ(head_of(*store, "run"), 30);
        ASSERT_TRUE(save(*store, "run", 31));
    }
    expect_whole(database, "run", 31);
    const auto kept = files_with(dir.path(), "cairn.db-wal.stale-");
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_TRUE(content_of(kept.front()) == log);
    EXPECT_EQ(told.messages.size(), 1U);
}

TEST(SqliteLogs, ABackupOfWhereTheLogBeganIsContinuedByIt) {
    const TempDir dir;
    const fs::path database = dir / "cairn.db";
    {
        const auto store = open_sqlite_store(database).value();
        for (std::int64_t version = 1; version <= 3; ++version) ASSERT_TRUE(save(*store, "run", version));
    }
    const std::string backup = content_of(database);
    save_and_die(database, "run", 4, 10);
    write_file(database, backup);
    expect_whole(database, "run", 10);
    EXPECT_TRUE(files_with(dir.path(), ".stale-").empty());
}

// The process is killed at any moment: before, while or after it moves a log into the database, and when it begins the
// next log.
TEST(SqliteLogs, TheLogOfAKilledProcessIsAlwaysItsDatabases) {
    const TempDir dir;
    const fs::path database = dir / "cairn.db";
    std::mt19937 random(7);
    std::int64_t acknowledged = 0;
    for (int round = 0; round < 8; ++round) {
        ChildProcess writer([&](const Channel& parent) {
            const auto store = open_sqlite_store(database).value();
            for (std::int64_t version = head_of(*store, "run") + 1;; ++version) {
                if (!save(*store, "run", version, 40'000)) return 1;
                parent.say(version);
            }
        });
        for (auto n = 1 + random() % 250; n > 0; --n) {
            const auto version = writer.channel().hear();
            ASSERT_TRUE(version.has_value());
            acknowledged = *version;
        }
        ::kill(writer.pid(), SIGKILL);
        while (const auto version = writer.channel().hear()) acknowledged = *version;
        writer.wait();
        Told told;
        const auto store = open_sqlite_store(database, told.options()).value();
        EXPECT_GE(head_of(*store, "run"), acknowledged) << "round " << round << " of seed 7";
        EXPECT_THAT(told.messages, testing::IsEmpty()) << "round " << round << " of seed 7";
        // Every other round leaves the log to the next process.
        if (round % 2 == 0) {
            ASSERT_TRUE(store->close().has_value());
        }
    }
}

// Some of the processes are killed meanwhile. Only the first sets the log aside; nobody sets aside a new log.
TEST(SqliteLogs, ManyThatOpenAtOnceSetAForeignLogAsideOnceAndLoseNothing) {
    for (const bool is_restored : {true, false}) {
        const TempDir dir;
        const fs::path database = dir / "cairn.db";
        ASSERT_TRUE(save(*open_sqlite_store(database).value(), "run", 1));
        const std::string backup = content_of(database);
        for (std::int64_t version = 2; version <= 4; ++version) {
            ASSERT_TRUE(save(*open_sqlite_store(database).value(), "run", version));
        }
        save_and_die(database, "run", 5, 8);
        const std::string log = content_of(database.native() + "-wal");
        fs::remove(database);
        if (is_restored) write_file(database, backup);

        std::vector<std::unique_ptr<ChildProcess>> children;
        for (int i = 0; i < 8; ++i) {
            children.push_back(std::make_unique<ChildProcess>([&, i](const Channel& parent) {
                parent.hear();
                const auto store = open_sqlite_store(database);
                if (!store) return 1;
                const Status saved = save(**store, fmt::format("new-{}", i), 1);
                parent.say(saved ? 1 : 0);
                return saved ? 0 : 2;
            }));
        }
        for (const auto& child : children) child->channel().say(1);
        for (std::size_t i = 0; i < children.size(); ++i) {
            const int outcome = i < 2 ? children[i]->kill() : children[i]->wait();
            EXPECT_TRUE(outcome == 0 || outcome == -SIGKILL) << outcome;
        }
        const auto store = open_sqlite_store(database).value();
        EXPECT_EQ(head_of(*store, "run"), is_restored ? 1 : 0);
        for (int i = 2; i < 8; ++i) EXPECT_EQ(head_of(*store, fmt::format("new-{}", i)), 1);
        EXPECT_THAT(problems_of(*store), testing::IsEmpty());
        const auto kept = files_with(dir.path(), ".stale-");
        ASSERT_EQ(kept.size(), 1U);
        EXPECT_TRUE(content_of(kept.front()) == log);
    }
}

TEST(SqliteLogs, AFileThatIsNoLogIsKeptAsideAndNotOverwritten) {
    const TempDir dir;
    const auto make = [&] { return open_sqlite_store(dir / "cairn.db").value()->close(); };
    ASSERT_TRUE(make().has_value());
    write_file(dir / "cairn.db-wal", "somebody's notes, which are longer than the header of a log would be");
    Told told;
    ASSERT_TRUE(save(*open_sqlite_store(dir / "cairn.db", told.options()).value(), "run", 1));
    EXPECT_EQ(files_with(dir.path(), ".stale-").size(), 1U);
    EXPECT_EQ(told.messages.size(), 1U);
}

// ---- damage in the log ----

void damage(const fs::path& log, std::size_t offset) {
    std::string content = content_of(log);
    ASSERT_LT(offset, content.size());
    content[offset] = static_cast<char>(content[offset] ^ 0xFF);
    write_file(log, content);
}

TEST(SqliteLogs, CommitsBehindADamagedFrameAreToldAndKept) {
    // The damage is in the page of a frame in the middle, in a frame's checksum, or in the log's header.
    for (const std::size_t offset : {kLogHeaderBytes + 60 * kFrameBytes + 4'000,
                                     kLogHeaderBytes + 60 * kFrameBytes + 17, std::size_t{17}, std::size_t{9}}) {
        const TempDir dir;
        save_and_die(dir / "cairn.db", "run", 1, 50);
        damage(dir / "cairn.db-wal", offset);
        const std::string log = content_of(dir / "cairn.db-wal");
        {
            const auto reader = open_sqlite_store(dir / "cairn.db", {.read_only = true}).value();
            EXPECT_THAT(problems_of(*reader), testing::Contains(HasSubstr("of the log (-wal) is damaged"))) << offset;
        }
        Told told;
        for (int opened = 0; opened < 2; ++opened) {
            const auto store = open_sqlite_store(dir / "cairn.db", told.options()).value();
            EXPECT_LT(head_of(*store, "run"), 50);
            ASSERT_TRUE(save(*store, "other", opened + 1));
        }
        const auto kept = files_with(dir.path(), "cairn.db-wal.damaged-");
        ASSERT_EQ(kept.size(), 1U) << offset;
        EXPECT_TRUE(content_of(kept.front()) == log);
        ASSERT_EQ(told.messages.size(), 1U);
        EXPECT_THAT(told.messages.front(), HasSubstr(kept.front().native()));

        const auto store = open_sqlite_store(dir / "cairn.db").value();
        EXPECT_THAT(problems_of(*store), testing::ElementsAre(HasSubstr(kept.front().native())));
        fs::remove(kept.front());
        EXPECT_THAT(problems_of(*store), testing::IsEmpty());
    }
}

// Returns the offsets of the frames that end a commit. Such a frame says how many pages the database then has.
std::vector<std::size_t> commits_in(const std::string& log) {
    std::vector<std::size_t> commits;
    for (std::size_t frame = kLogHeaderBytes; frame + kFrameBytes <= log.size(); frame += kFrameBytes) {
        if (log.substr(frame + 4, 4) != std::string(4, '\0')) commits.push_back(frame);
    }
    return commits;
}

// Two commits are gone then, and the first of them was certainly acknowledged.
TEST(SqliteLogs, ADamagedCommitBeforeTheLastOneIsToldAndKept) {
    const TempDir dir;
    save_and_die(dir / "cairn.db", "run", 1, 20);
    const std::vector<std::size_t> commits = commits_in(content_of(dir / "cairn.db-wal"));
    damage(dir / "cairn.db-wal", commits.at(commits.size() - 2) + 500);
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    EXPECT_EQ(head_of(*store, "run"), 18);
    EXPECT_EQ(files_with(dir.path(), "cairn.db-wal.damaged-").size(), 1U);
    EXPECT_THAT(problems_of(*store), testing::Not(testing::IsEmpty()));
}

// A power cut while a log begins anew can leave its header in pieces. The frames behind it are in the database already.
TEST(SqliteLogs, ADamagedLogOfWhichTheDatabaseHasAllIsNoDamage) {
    for (const std::size_t offset : {std::size_t{17}, kLogHeaderBytes + 5 * kFrameBytes + 500}) {
        const TempDir dir;
        ChildProcess child([&](const Channel&) {
            const auto other = open_sqlite_store(dir / "cairn.db");
            for (std::int64_t version = 1; version <= 20; ++version) {
                if (!save(**other, "run", version)) return 2;
            }
            sqlite3* engine = nullptr;
            if (sqlite3_open((dir / "cairn.db").c_str(), &engine) != SQLITE_OK) return 3;
            if (sqlite3_exec(engine, "PRAGMA wal_checkpoint(PASSIVE)", nullptr, nullptr, nullptr) != SQLITE_OK)
                return 4;
            std::_Exit(0);
            return 0;
        });
        ASSERT_EQ(child.wait(), 0);
        damage(dir / "cairn.db-wal", offset);
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        EXPECT_EQ(head_of(*store, "run"), 20) << offset;
        EXPECT_TRUE(files_with(dir.path(), "cairn.db-wal.damaged-").empty()) << offset;
        EXPECT_THAT(problems_of(*store), testing::IsEmpty()) << offset;
    }
}

TEST(SqliteLogs, ALastCommitThatIsNotWholeIsNoDamage) {
    for (const std::size_t frames_back : {1U, 2U, 3U}) {
        const TempDir dir;
        save_and_die(dir / "cairn.db", "run", 1, 20);
        damage(dir / "cairn.db-wal", fs::file_size(dir / "cairn.db-wal") - frames_back * kFrameBytes + 500);
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        EXPECT_EQ(head_of(*store, "run"), 19);
        EXPECT_THAT(problems_of(*store), testing::IsEmpty());
    }
}

TEST(SqliteLogs, ALogThatIsWrittenMeanwhileNeverLooksDamaged) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ChildProcess writer([&](const Channel& parent) {
        const auto other = open_sqlite_store(dir / "other.db").value();
        parent.say(1);
        for (std::int64_t version = 1;; ++version) {
            if (!save(*other, "run", version, 20'000)) return 1;
        }
    });
    ASSERT_TRUE(writer.channel().hear().has_value());
    for (int round = 0; round < 20; ++round) {
        const auto reader = open_sqlite_store(dir / "other.db", {.read_only = true}).value();
        EXPECT_THAT(problems_of(*reader), testing::IsEmpty());
    }
    writer.kill();
}

// ---- under an open store ----

class UnderAnOpenStore : public testing::Test {
protected:
    static constexpr std::int64_t kSaved = 8;

    void SetUp() override {
        store_ = open_sqlite_store(database_).value();
        backup_ = content_of(database_);
        for (std::int64_t version = 1; version <= kSaved; ++version) ASSERT_TRUE(save(*store_, "run", version));
        ASSERT_EQ(head_of(*store_, "run"), kSaved);  // so that a reader's connection is open too
    }

    // Expects that the files' change was noticed, and that the error says it.
    template <class T>
    static void expect_noticed(const Result<T>& result, const std::string& because) {
        ASSERT_FALSE(result.has_value());
        EXPECT_EQ(result.error().code, ErrorCode::kUnavailable) << result.error().to_string();
        EXPECT_THAT(result.error().message, HasSubstr(because));
    }

    void expect_the_next_save_is_refused(const std::string& because) {
        const Status status = save(*store_, "run", kSaved + 1);
        ASSERT_NO_FATAL_FAILURE(expect_noticed(status, because));
        EXPECT_THAT(status.error().message, HasSubstr("end every program that uses the store"));
    }

    // If a call succeeded, the next save, or a fallback, would begin the run anew, and nobody would notice the loss.
    void expect_all_is_refused_until_it_is_opened_again(const std::string& because) {
        expect_the_next_save_is_refused(because);
        expect_the_next_save_is_refused(because);
        EXPECT_EQ(store_->head("run", soon()).error().code, ErrorCode::kUnavailable);
        OptimizedStatePersistence service(store_);
        const auto saved = service.save_agent_state(make_request("run", R"({"step":9})"));
        ASSERT_FALSE(saved.has_value());
        EXPECT_EQ(saved.error().code, ErrorCode::kUnavailable) << saved.error().to_string();
        store_.reset();
        EXPECT_TRUE(open_sqlite_store(database_).has_value());
    }

    fs::path with(const char* suffix) const { return database_.native() + suffix; }

    TempDir dir_;
    fs::path database_ = dir_ / "cairn.db";
    std::shared_ptr<Store> store_;
    std::string backup_;
};

TEST_F(UnderAnOpenStore, ARemovedLogIsNoticedAndWhatItHeldIsSaved) {
    fs::remove(with("-wal"));
    expect_the_next_save_is_refused("its log (-wal) was removed");
    // All of this process's connections are closed by then, so the same store can go on.
    EXPECT_TRUE(save(*store_, "run", kSaved + 1).has_value());
    store_.reset();
    expect_whole(database_, "run", kSaved + 1);
}

TEST_F(UnderAnOpenStore, AReplacedLogIsNoticed) {
    const std::string log = content_of(with("-wal"));
    fs::remove(with("-wal"));
    write_file(with("-wal"), log);
    expect_the_next_save_is_refused("its log (-wal) was replaced");
    store_.reset();
    expect_whole(database_, "run", kSaved);
}

TEST_F(UnderAnOpenStore, ALogThatWasCutOffIsNoticed) {
    fs::resize_file(with("-wal"), kLogHeaderBytes + kFrameBytes);
    expect_all_is_refused_until_it_is_opened_again("its log (-wal) was cut off");
}

TEST_F(UnderAnOpenStore, ADatabaseThatWasCutOffIsNoticed) {
    ASSERT_TRUE(store_->stats(soon()).has_value());  // moves the log into the database
    ASSERT_TRUE(save(*store_, "run", kSaved + 1).has_value());
    fs::resize_file(database_, 0);
    for (int attempt = 0; attempt < 2; ++attempt) expect_noticed(save(*store_, "run", kSaved + 2), "it was cut off");
}

TEST_F(UnderAnOpenStore, ARemovedLockFileIsNoticedAndNothingIsLost) {
    fs::remove(with("-shm"));
    expect_the_next_save_is_refused("its lock file (-shm) was removed");
    EXPECT_TRUE(save(*store_, "run", kSaved + 1).has_value());
    store_.reset();
    expect_whole(database_, "run", kSaved + 1);
}

// Waits until a read looks at the files again. Reads do that at most once in 50 ms.
void wait_for_the_next_look() {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
}

TEST_F(UnderAnOpenStore, AReadNoticesThatALogOrALockFileIsGoneAndTheNextOneGoesOn) {
    for (const char* suffix : {"-wal", "-shm"}) {
        fs::remove(with(suffix));
        wait_for_the_next_look();
        expect_noticed(store_->head("run", soon()), fmt::format("({}) was removed", suffix));
        EXPECT_EQ(head_of(*store_, "run"), kSaved) << suffix;
    }
    store_.reset();
    expect_whole(database_, "run", kSaved);
}

TEST_F(UnderAnOpenStore, AReadNoticesThatAnotherDatabaseWasCopiedOverIt) {
    ASSERT_TRUE(
        store_->stats(soon()).has_value());  // moves the log into the database, which so gets ahead of the backup
    ASSERT_TRUE(save(*store_, "run", kSaved + 1).has_value());
    wait_for_the_next_look();
    ASSERT_EQ(head_of(*store_, "run"), kSaved + 1);  // from here on the reader knows that it is ahead
    write_file(database_, backup_);
    wait_for_the_next_look();
    for (int read = 0; read < 2; ++read) {
        expect_noticed(store_->head("run", soon()), "another database was copied over it");
    }
    store_.reset();
    EXPECT_TRUE(content_of(database_) == backup_) << "closing wrote into the restored database";
}

TEST_F(UnderAnOpenStore, AReadNoticesALogThatWasReplacedOrCutOff) {
    const std::string log = content_of(with("-wal"));
    fs::remove(with("-wal"));
    write_file(with("-wal"), log);
    wait_for_the_next_look();
    expect_noticed(store_->head("run", soon()), "its log (-wal) was replaced");
    store_ = open_sqlite_store(database_).value();
    EXPECT_EQ(head_of(*store_, "run"), kSaved);
    fs::resize_file(with("-wal"), kLogHeaderBytes);
    wait_for_the_next_look();
    expect_noticed(store_->head("run", soon()), "its log (-wal) was cut off");
}

TEST_F(UnderAnOpenStore, AnotherDatabaseThatWasCopiedOverItIsNoticedAndStaysWhole) {
    ASSERT_TRUE(
        store_->stats(soon()).has_value());  // moves the log into the database, which so gets ahead of the backup
    ASSERT_TRUE(save(*store_, "run", kSaved + 1).has_value());
    write_file(database_, backup_);
    expect_noticed(save(*store_, "run", kSaved + 2), "another database was copied over it");
    store_.reset();
    EXPECT_TRUE(content_of(database_) == backup_) << "closing wrote into the restored database";
    Told told;
    const auto store = open_sqlite_store(database_, told.options()).value();
    EXPECT_EQ(head_of(*store, "run"), 0);
    EXPECT_THAT(problems_of(*store), testing::IsEmpty());
    EXPECT_EQ(told.messages.size(), 1U);
}

TEST_F(UnderAnOpenStore, ADatabaseThatWasMovedAwayIsNoticedAndTheNewOneKeepsItsLog) {
    fs::rename(database_, dir_ / "moved.db");
    ChildProcess other([&](const Channel& parent) {
        const auto store = open_sqlite_store(database_);
        if (!store || !save(**store, "new", 1)) return 1;
        parent.say(1);
        parent.hear();
        std::_Exit(0);
        return 0;
    });
    ASSERT_TRUE(other.channel().hear().has_value());
    const Status refused = save(*store_, "run", kSaved + 1);
    ASSERT_FALSE(refused.has_value()) << "the new store has no such run";
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict) << refused.error().to_string();
    store_.reset();
    EXPECT_TRUE(fs::exists(with("-wal"))) << "closing the moved store deleted the new one's log";
    other.channel().say(1);
    EXPECT_EQ(other.wait(), 0);
    expect_whole(dir_ / "moved.db", "run", kSaved);
}

TEST(SqliteLogs, AnotherProcessIsRefusedWhenTheLockFileOrTheLogIsGone) {
    for (const std::string suffix : {"-shm", "-wal"}) {
        const TempDir dir;
        ChildProcess holder([&](const Channel& parent) {
            const auto store = open_sqlite_store(dir / "cairn.db");
            if (!store || !save(**store, "run", 1)) return 1;
            parent.say(1);
            parent.hear();
            // The other process has changed nothing that would keep this one from going on.
            if (save(**store, "run", 2)) return 2;
            return save(**store, "run", 2) ? 0 : 3;
        });
        ASSERT_TRUE(holder.channel().hear().has_value());
        fs::remove(dir / ("cairn.db" + suffix));
        const auto store = open_sqlite_store(dir / "cairn.db", {.timeout = std::chrono::milliseconds(500)});
        ASSERT_FALSE(store.has_value()) << suffix;
        EXPECT_EQ(store.error().code, ErrorCode::kUnavailable) << store.error().to_string();
        EXPECT_THAT(store.error().message, HasSubstr("was removed"));
        holder.channel().say(1);
        EXPECT_EQ(holder.wait(), 0) << suffix;
        expect_whole(dir / "cairn.db", "run", 2);
    }
}

// ---- beside processes that have no lock file, and need none ----

class BesideOneWithoutALockFile : public testing::Test {
protected:
    void SetUp() override {
        const auto store = open_sqlite_store(database_).value();
        ASSERT_TRUE(save(*store, "run", 1));
    }

    // Makes another process do `work`, and then wait for `let_go`.
    void hold(std::function<bool()> work) {
        holder_ = std::make_unique<ChildProcess>([work = std::move(work)](const Channel& parent) {
            if (!work()) return 1;
            parent.say(1);
            parent.hear();
            std::_Exit(0);
            return 0;
        });
        ASSERT_TRUE(holder_->channel().hear().has_value());
        ASSERT_FALSE(fs::exists(database_.native() + "-shm"));
    }
    void let_go() {
        holder_->channel().say(1);
        EXPECT_EQ(holder_->wait(), 0);
    }
    static bool run(sqlite3* database, const std::string& sql) {
        return sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
    }
    static bool lock(const fs::path& path, short type) {
        const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
        struct flock lock{.l_type = type, .l_whence = SEEK_SET, .l_start = 0x40000002, .l_len = 510, .l_pid = 0};
        return ::fcntl(descriptor, F_SETLK, &lock) == 0;
    }

    // Expects the error that the database is in use, and not that something was removed.
    void expect_busy(const std::string& what) {
        const auto store = open_sqlite_store(database_, {.timeout = std::chrono::milliseconds(300)});
        ASSERT_FALSE(store.has_value());
        EXPECT_EQ(store.error().code, ErrorCode::kUnavailable);
        EXPECT_THAT(store.error().message, HasSubstr(what));
        EXPECT_FALSE(has_open(database_.native() + "-shm")) << "its lock is held until the process ends";
    }
    static bool has_open(const std::string& path) {
        for (const auto& descriptor : fs::directory_iterator("/proc/self/fd")) {
            std::error_code closed_meanwhile;
            if (fs::read_symlink(descriptor.path(), closed_meanwhile) == path) return true;
        }
        return false;
    }

    TempDir dir_;
    fs::path database_ = dir_ / "cairn.db";
    std::unique_ptr<ChildProcess> holder_;
};

TEST_F(BesideOneWithoutALockFile, AReaderThatKeepsEverybodyElseOutIsWaitedFor) {
    hold([this] {
        sqlite3* own = nullptr;
        return sqlite3_open(database_.c_str(), &own) == SQLITE_OK && run(own, "PRAGMA locking_mode = EXCLUSIVE") &&
               run(own, "SELECT count(*) FROM runs");
    });
    expect_busy("kept the database locked");
    let_go();
    expect_whole(database_, "run", 1);
}

TEST_F(BesideOneWithoutALockFile, ACopyWithoutALogIsReadBesideItsReaderAndWrittenAfterIt) {
    sqlite3* own = nullptr;
    ASSERT_EQ(sqlite3_open(database_.c_str(), &own), SQLITE_OK);
    ASSERT_TRUE(run(own, fmt::format("VACUUM INTO '{}'", (dir_ / "copy.db").native())));
    sqlite3_close(own);
    database_ = dir_ / "copy.db";
    hold([this] {
        sqlite3* reader = nullptr;
        return sqlite3_open(database_.c_str(), &reader) == SQLITE_OK && run(reader, "BEGIN") &&
               run(reader, "SELECT count(*) FROM runs");
    });
    {
        const auto store = open_sqlite_store(database_, {.read_only = true});
        ASSERT_TRUE(store.has_value()) << store.error().to_string();
        EXPECT_EQ(head_of(**store, "run"), 1);
    }
    expect_busy("kept the database locked");
    let_go();
    expect_whole(database_, "run", 1);
}

// A process that looks at a log of gigabytes locks the database and its folder for itself for a long time.
TEST_F(BesideOneWithoutALockFile, AProcessThatLooksAtALargeLogIsWaitedFor) {
    const auto look = [this](short type) {
        return ::flock(::open(dir_.path().c_str(), O_RDONLY | O_CLOEXEC), LOCK_EX) == 0 && lock(database_, type);
    };
    hold([&] { return look(F_WRLCK); });
    expect_busy("kept the database locked");
    auto opening = std::async(std::launch::async, [this] { return open_sqlite_store(database_); });
    std::this_thread::sleep_for(std::chrono::milliseconds(2'500));  // longer than any process was ever waited for
    let_go();
    const auto opened = opening.get();
    EXPECT_TRUE(opened.has_value()) << opened.error().to_string();
}

TEST_F(BesideOneWithoutALockFile, AProcessThatHasJustBegunToOpenItIsWaitedFor) {
    hold([this] {
        return ::flock(::open(dir_.path().c_str(), O_RDONLY | O_CLOEXEC), LOCK_EX) == 0 && lock(database_, F_RDLCK);
    });
    expect_busy("other programs were opening it");
    let_go();
    expect_whole(database_, "run", 1);
}

}  // namespace
}  // namespace cairn::test
