// Goal: whatever the path names, opening it gives a store or a clear error of the right kind. Nothing of others is
// changed.
// Method: each kind of wrong file, folder and schema, made by hand or through the engine.

#include "store/sqlite/sqlite_schema.h"
#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/database_bytes.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;
const int kNewest = sqlite::migrations().back().version;

void write_file(const fs::path& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
}

std::vector<std::string> files_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
    return names;
}

ErrorCode code_of_opening(const fs::path& path, const OpenOptions& options = {}) {
    const auto store = open_sqlite_store(path, options);
    EXPECT_FALSE(store.has_value()) << path;
    return store ? ErrorCode::kInternal : store.error().code;
}

std::string message_of_opening(const fs::path& path, const OpenOptions& options = {}) {
    const auto store = open_sqlite_store(path, options);
    return store ? "opened" : store.error().to_string();
}

// Commits one run in a process that dies without closing, so that the commit stays in the log.
void commit_one_run_and_die(const fs::path& path) {
    ChildProcess dying([&](const Channel&) {
        const auto store = open_sqlite_store(path).value();
        std::_Exit(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()) ? 0 : 1);
        return 0;
    });
    ASSERT_EQ(dying.wait(), 0);
    ASSERT_NE(fs::file_size(path.native() + "-wal"), 0U);
}

void make_store_with_one_run(const fs::path& path) {
    const auto store = open_sqlite_store(path).value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    ASSERT_TRUE(store->close().has_value());
}

// ---- kinds of paths ----

TEST(SqliteFiles, AFolderAsThePathIsAnInvalidArgument) {
    const TempDir dir;
    EXPECT_EQ(code_of_opening(dir.path()), ErrorCode::kInvalidArgument);
    EXPECT_NE(message_of_opening(dir.path()).find("is a folder"), std::string::npos);
}

TEST(SqliteFiles, SomethingThatIsNoRegularFileIsAnInvalidArgument) {
    EXPECT_EQ(code_of_opening("/dev/null"), ErrorCode::kInvalidArgument);
    EXPECT_EQ(code_of_opening(""), ErrorCode::kInvalidArgument);
    EXPECT_EQ(code_of_opening(std::string("a\0b", 3)), ErrorCode::kInvalidArgument);
    EXPECT_EQ(code_of_opening("/tmp/" + std::string(5000, 'x')), ErrorCode::kInvalidArgument);
}

TEST(SqliteFiles, AMissingFolderIsNotFound) {
    const TempDir dir;
    EXPECT_EQ(code_of_opening(dir / "missing" / "cairn.db"), ErrorCode::kNotFound);
    EXPECT_FALSE(fs::exists(dir / "missing"));
}

TEST(SqliteFiles, AFileAsTheFolderIsAnError) {
    const TempDir dir;
    write_file(dir / "file", "x");
    EXPECT_EQ(code_of_opening(dir / "file" / "cairn.db"), ErrorCode::kInvalidArgument);
}

TEST(SqliteFiles, AMissingFileIsNotFoundUnlessItMayBeCreated) {
    const TempDir dir;
    EXPECT_EQ(code_of_opening(dir / "cairn.db", {.create = false}), ErrorCode::kNotFound);
    EXPECT_EQ(code_of_opening(dir / "cairn.db", {.read_only = true}), ErrorCode::kNotFound);
    EXPECT_TRUE(files_in(dir.path()).empty()) << "opening left something behind";
}

TEST(SqliteFiles, MakingAStoreRemovesWhatKilledMakersLeftAndNothingElse) {
    const TempDir dir;
    const std::vector<std::string> left{"cairn.db.new-1-1",      "cairn.db.new-1-1-journal", "cairn.db.new-1-1-lock",
                                        "cairn.db.new-99-2-wal", "cairn.db.new-99-2-shm",    "cairn.db.new-99-2-lock"};
    const std::vector<std::string> others{"cairn.db.new-lock", "cairn.db.new-notes", "cairn.db.new-a-1-lock",
                                          "cairn.db.newer",    "other.db.new-1-1",   "other.db.new-1-1-lock"};
    for (const std::string& name : left) write_file(dir / name, "half of a store");
    for (const std::string& name : others) write_file(dir / name, "somebody's");
    make_store_with_one_run(dir / "cairn.db");
    std::vector<std::string> expected = others;
    expected.emplace_back("cairn.db");
    EXPECT_THAT(files_in(dir.path()), ::testing::UnorderedElementsAreArray(expected));
}

TEST(SqliteFiles, AMakerKeepsTheDraftOfAnotherThatIsStillAtWork) {
    const TempDir dir;
    write_file(dir / "cairn.db.new-1-1-lock", "");
    write_file(dir / "cairn.db.new-1-1", "half of a store");
    const int maker = ::open((dir / "cairn.db.new-1-1-lock").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_EQ(::flock(maker, LOCK_EX | LOCK_NB), 0);
    make_store_with_one_run(dir / "cairn.db");
    EXPECT_TRUE(fs::exists(dir / "cairn.db.new-1-1"));
    ::close(maker);
}

TEST(SqliteFiles, ADanglingLinkIsAnErrorAndNotALoop) {
    const TempDir dir;
    fs::create_symlink(dir / "nowhere", dir / "link.db");
    EXPECT_EQ(code_of_opening(dir / "link.db"), ErrorCode::kNotFound);
    EXPECT_EQ(files_in(dir.path()), std::vector<std::string>{"link.db"});
}

TEST(SqliteFiles, NamesThatMeanSomethingToTheEngineAreOnlyNames) {
    const TempDir dir;
    const fs::path before = fs::current_path();
    fs::current_path(dir.path());
    for (const std::string name : {":memory:", "file:x.db?mode=memory", "a?b=c#d%41 e.db", "'quoted\".db", "ü\n.db"}) {
        make_store_with_one_run(name);
        EXPECT_TRUE(fs::is_regular_file(dir / name)) << name;
        const auto reader = open_sqlite_store(name, {.read_only = true});
        ASSERT_TRUE(reader.has_value()) << reader.error().to_string();
        EXPECT_TRUE((*reader)->head("run", soon()).value().has_value()) << name;
    }
    fs::current_path(before);
}

TEST(SqliteFiles, AStoreStaysItsOwnWhenTheWorkingFolderChanges) {
    const TempDir dir;
    const fs::path before = fs::current_path();
    fs::current_path(dir.path());
    const auto store = open_sqlite_store("cairn.db").value();
    fs::current_path(before);
    EXPECT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    EXPECT_TRUE(store->head("run", soon()).value().has_value());
}

// ---- permissions of new files ----

fs::perms mode_of(const fs::path& path) {
    return fs::status(path).permissions();
}

TEST(SqliteFiles, ANewStoreIsItsOwnersAloneWithAllItsFiles) {
    const TempDir dir;
    const mode_t before = ::umask(0);
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    ::umask(before);
    for (const char* name : {"cairn.db", "cairn.db-wal", "cairn.db-shm"}) {
        EXPECT_EQ(mode_of(dir / name), fs::perms(0600)) << name;
    }
}

TEST(SqliteFiles, ANewStoreHasTheModeThatItsOptionsGiveWithAllItsFiles) {
    const TempDir dir;
    const mode_t before = ::umask(0077);
    const auto store = open_sqlite_store(dir / "cairn.db", {.file_mode = 0660}).value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    ::umask(before);
    for (const char* name : {"cairn.db", "cairn.db-wal", "cairn.db-shm"}) {
        EXPECT_EQ(mode_of(dir / name), fs::perms(0660)) << name;
    }
}

TEST(SqliteFiles, AnEmptyFileGivesAStoreItsMode) {
    const TempDir dir;
    write_file(dir / "cairn.db", "");
    fs::permissions(dir / "cairn.db", fs::perms(0660));
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 1)), soon()).has_value());
    for (const char* name : {"cairn.db", "cairn.db-wal", "cairn.db-shm"}) {
        EXPECT_EQ(mode_of(dir / name), fs::perms(0660)) << name;
    }
}

TEST(SqliteFiles, FilesPlantedAtTheNamesOfDraftsNeitherHangNorLeadAnywhere) {
    const TempDir dir;
    const TempDir elsewhere;
    write_file(elsewhere / "victim", "theirs");
    // This process has made fewer drafts so far, so the names of its next ones are among these.
    for (int number = 1; number <= 2'000; ++number) {
        const std::string draft = fmt::format("cairn.db.new-{}-{}", ::getpid(), number);
        fs::create_symlink(elsewhere / (number % 2 == 0 ? "victim" : "none"), dir / draft);
    }
    ASSERT_EQ(::mkfifo((dir / "cairn.db.new-1-1-lock").c_str(), 0600), 0);
    fs::create_symlink(elsewhere / "victim", dir / "cairn.db.new-1-2-lock");
    make_store_with_one_run(dir / "cairn.db");
    EXPECT_EQ(content_of(elsewhere / "victim"), "theirs");
    EXPECT_EQ(files_in(elsewhere.path()), std::vector<std::string>{"victim"});
    EXPECT_TRUE(fs::exists(dir / "cairn.db.new-1-1-lock"));
}

TEST(SqliteFiles, FilesPlantedAtTheNamesOfTheLogNeitherHangNorLeadAnywhere) {
    for (const std::string suffix : {"-journal", "-wal", "-shm"}) {
        const TempDir dir;
        const TempDir elsewhere;
        make_store_with_one_run(dir / "cairn.db");
        ASSERT_EQ(::mkfifo((dir / ("cairn.db" + suffix)).c_str(), 0600), 0);
        EXPECT_THAT(message_of_opening(dir / "cairn.db"), testing::HasSubstr("is no regular file")) << suffix;
        fs::remove(dir / ("cairn.db" + suffix));
        fs::create_symlink(elsewhere / "none", dir / ("cairn.db" + suffix));
        EXPECT_EQ(code_of_opening(dir / "cairn.db"), ErrorCode::kUnavailable) << suffix;
        EXPECT_TRUE(files_in(elsewhere.path()).empty());
    }
}

// ---- one name ----

TEST(SqliteFiles, AFileWithASecondNameIsRefusedUntilItHasOneAgain) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    fs::create_hard_link(dir / "cairn.db", dir / "other.db");
    for (const char* name : {"cairn.db", "other.db"}) {
        for (const bool read_only : {false, true}) {
            EXPECT_EQ(code_of_opening(dir / name, {.read_only = read_only}), ErrorCode::kInvalidArgument);
        }
        EXPECT_THAT(message_of_opening(dir / name), testing::HasSubstr("2 names (hard links)"));
    }
    fs::remove(dir / "other.db");
    EXPECT_EQ(open_sqlite_store(dir / "cairn.db").value()->head("run", soon()).value()->version, 1);
}

// Some file systems cannot rename a file without replacing another. There, a maker that dies at the wrong moment leaves
// the name of its draft.
TEST(SqliteFiles, ADraftsNameThatADeadMakerLeftIsNoSecondName) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    fs::create_hard_link(dir / "cairn.db", dir / "cairn.db.new-1-1");
    write_file(dir / "cairn.db.new-1-1-lock", "");
    EXPECT_EQ(open_sqlite_store(dir / "cairn.db").value()->head("run", soon()).value()->version, 1);
    EXPECT_EQ(files_in(dir.path()), std::vector<std::string>{"cairn.db"});
}

TEST(SqliteFiles, AFileThatIsMountedAloneIsRefused) {
    const TempDir dir;
    fs::create_directories(dir / "app");
    make_store_with_one_run(dir / "cairn.db");
    write_file(dir / "app" / "cairn.db", "");
    ChildProcess child([&](const Channel&) {
        const bool may_mount =
            ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
            ::mount((dir / "cairn.db").c_str(), (dir / "app" / "cairn.db").c_str(), nullptr, MS_BIND, nullptr) == 0;
        if (!may_mount) return 77;
        const std::string message = message_of_opening(dir / "app" / "cairn.db");
        if (message.find("mount the folder") == std::string::npos) return 1;
        if (!open_sqlite_store(dir / "cairn.db")) return 2;
        // Mounting the folder instead of the file works.
        fs::create_directories(dir / "whole");
        if (::mount(dir.path().c_str(), (dir / "whole").c_str(), nullptr, MS_BIND, nullptr) != 0) return 77;
        return open_sqlite_store(dir / "whole" / "cairn.db") ? 0 : 3;
    });
    const int outcome = child.wait();
    if (outcome == 77) GTEST_SKIP() << "this user may not mount here";
    EXPECT_EQ(outcome, 0);
}

TEST(SqliteFiles, ThroughALinkTheLogIsThatOfTheLinksTarget) {
    const TempDir dir;
    fs::create_directories(dir / "links");
    commit_one_run_and_die(dir / "cairn.db");
    fs::create_symlink("../cairn.db", dir / "links" / "cairn.db");
    EXPECT_EQ(open_sqlite_store(dir / "links" / "cairn.db", {.read_only = true})
                  .value()
                  ->head("run", soon())
                  .value()
                  ->version,
              1);
    const auto store = open_sqlite_store(dir / "links" / "cairn.db").value();
    EXPECT_EQ(store->head("run", soon()).value()->version, 1);
    EXPECT_EQ(files_in(dir / "links"), std::vector<std::string>{"cairn.db"});
}

// ---- files of others ----

TEST(SqliteFiles, AnotherProgramsDatabaseIsIncompatibleAndUntouched) {
    for (const std::string sql : {"CREATE TABLE t(x)", "PRAGMA application_id = 7; CREATE TABLE t(x)",
                                  "PRAGMA application_id = 7", "PRAGMA journal_mode = WAL; CREATE TABLE runs(x)"}) {
        const TempDir dir;
        execute(dir / "other.db", sql);
        const std::string before = content_of(dir / "other.db");
        EXPECT_EQ(code_of_opening(dir / "other.db"), ErrorCode::kIncompatible) << sql;
        EXPECT_EQ(code_of_opening(dir / "other.db", {.read_only = true}), ErrorCode::kIncompatible) << sql;
        EXPECT_TRUE(content_of(dir / "other.db") == before) << sql;
        EXPECT_EQ(files_in(dir.path()).size(), 1U) << sql;
    }
}

TEST(SqliteFiles, AFileThatIsNoDatabaseIsIncompatibleAndUntouched) {
    const std::string text = "# Shopping\n- milk\n";
    for (const std::string& content : {text, std::string("x"), std::string(100'000, '\0'), "SQLite format 3" + text}) {
        const TempDir dir;
        write_file(dir / "notes.md", content);
        EXPECT_EQ(code_of_opening(dir / "notes.md"), ErrorCode::kIncompatible);
        EXPECT_EQ(code_of_opening(dir / "notes.md", {.read_only = true}), ErrorCode::kIncompatible);
        EXPECT_TRUE(content_of(dir / "notes.md") == content);
        EXPECT_EQ(files_in(dir.path()).size(), 1U);
    }
}

// Power loss in the middle of a checkpoint can leave such a first page.
TEST(SqliteFiles, AFirstPageThatIsRubbishIsMendedFromTheLog) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    // The file grows. The first page has the file's size, so the log has that page.
    const std::string text = R"({"filler":")" + std::string(50'000, 'x') + R"("})";
    ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", 2, text)), soon()).has_value());
    std::string content = content_of(dir / "cairn.db");
    content.replace(0, 512, std::string(512, '\x5A'));
    write_file(dir / "torn.db", content);
    write_file(dir / "torn.db-wal", content_of(dir / "cairn.db-wal"));
    const auto torn = open_sqlite_store(dir / "torn.db", {.create = false});
    ASSERT_TRUE(torn.has_value()) << torn.error().to_string();
    EXPECT_EQ((*torn)->head("run", soon()).value().value().version, 2);
    EXPECT_TRUE((*torn)->check(soon()).value().findings.empty());
}

TEST(SqliteFiles, ALogBesideSomethingElseIsUntouched) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    sqlite3* other = nullptr;
    ASSERT_EQ(sqlite3_open((dir / "other.db").c_str(), &other), SQLITE_OK);
    const char* const kFill = "PRAGMA journal_mode = WAL; CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1);";
    ASSERT_EQ(sqlite3_exec(other, kFill, nullptr, nullptr, nullptr), SQLITE_OK);
    for (const std::string& content : {content_of(dir / "other.db"), std::string(9'000, 'x')}) {
        write_file(dir / "copy.db", content);
        const std::string log = content_of(dir / "other.db-wal");
        write_file(dir / "copy.db-wal", log);
        EXPECT_THAT(message_of_opening(dir / "copy.db"), testing::HasSubstr("is not a cairn store"));
        EXPECT_EQ(content_of(dir / "copy.db"), content);
        EXPECT_EQ(content_of(dir / "copy.db-wal"), log);
    }
    sqlite3_close(other);
}

TEST(SqliteFiles, AnEmptyFileBecomesAStore) {
    const TempDir dir;
    write_file(dir / "cairn.db", "");
    EXPECT_EQ(code_of_opening(dir / "cairn.db", {.read_only = true}), ErrorCode::kIncompatible);
    make_store_with_one_run(dir / "cairn.db");
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA page_size"), "8192");
}

TEST(SqliteFiles, ADatabaseWithoutTablesBecomesAStore) {
    const TempDir dir;
    execute(dir / "cairn.db", "CREATE TABLE t(x); DROP TABLE t; VACUUM");
    ASSERT_NE(fs::file_size(dir / "cairn.db"), 0U);
    make_store_with_one_run(dir / "cairn.db");
}

TEST(SqliteFiles, ANewStoreHasWhatTheFormatPromises) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA application_id"), fmt::format("{}", sqlite::kApplicationId));
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA user_version"), fmt::format("{}", kNewest));
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA auto_vacuum"), "2");
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA page_size"), "8192");
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA journal_mode"), "wal");
}

TEST(SqliteFiles, AUuidIsStoredInSixteenBytesAndEveryIdComesBackAsGiven) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    const std::vector<std::string> ids = {"019b7ca9-94bb-7f14-86a6-97f616299b40",
                                          "019B7CA9-94BB-7F14-86A6-97F616299B40",
                                          "019b7ca994bb7f1486a697f616299b40",
                                          "019b7ca9-94bb-7f14-86a6-97f616299b4g",
                                          "019b7ca9_94bb-7f14-86a6-97f616299b40",
                                          "00000000-0000-0000-0000-000000000000",
                                          "sixteen-bytes-id",
                                          std::string("with\0NUL", 8)};
    for (std::size_t i = 0; i < ids.size(); ++i) {
        Snapshot snapshot = make_snapshot("run", static_cast<std::int64_t>(i) + 1);
        snapshot.info.snapshot_id = ids[i];
        const Status status = commit_run(*store, make_batch(std::move(snapshot)), soon());
        ASSERT_TRUE(status.has_value()) << status.error().to_string();
        EXPECT_EQ(store->head("run", soon()).value()->snapshot_id, ids[i]);
    }
    for (const std::string& id : ids) EXPECT_EQ(store->get("run", id, soon()).value()->info.snapshot_id, id);
    EXPECT_EQ(query(dir / "cairn.db", "SELECT count(*) FROM snapshots WHERE typeof(snapshot_id) = 'blob'"), "2");
}

// ---- schema versions ----

const sqlite::Migration kNext{.version = kNewest + 1, .sql = "CREATE TABLE next(x INTEGER) STRICT"};
const sqlite::Migration kNextButOneFails{.version = kNewest + 2,
                                         .sql = "CREATE TABLE next_but_one(x); INSERT INTO nowhere VALUES(1)"};

std::vector<sqlite::Migration> migrations_with(std::initializer_list<sqlite::Migration> more) {
    std::vector<sqlite::Migration> all(sqlite::migrations().begin(), sqlite::migrations().end());
    all.insert(all.end(), more);
    return all;
}

TEST(SqliteSchema, ANewerSchemaIsIncompatibleAndSaysWhichVersions) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    execute(dir / "cairn.db", "PRAGMA user_version = 7");
    for (const bool read_only : {false, true}) {
        EXPECT_EQ(code_of_opening(dir / "cairn.db", {.read_only = read_only}), ErrorCode::kIncompatible);
    }
    const std::string message = message_of_opening(dir / "cairn.db");
    EXPECT_NE(message.find("schema 7"), std::string::npos) << message;
    EXPECT_NE(message.find(fmt::format("up to {}", kNewest)), std::string::npos) << message;
    EXPECT_EQ(query(dir / "cairn.db", "SELECT count(*) FROM snapshots"), "1");
}

TEST(SqliteSchema, AnOlderSchemaIsMigratedAndKeepsItsData) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    const auto migrations = migrations_with({kNext});
    const auto store = open_sqlite_store(dir / "cairn.db", {}, {.migrations = migrations});
    ASSERT_TRUE(store.has_value()) << store.error().to_string();
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA user_version"), fmt::format("{}", kNext.version));
    EXPECT_EQ((*store)->head("run", soon()).value()->version, 1);
    EXPECT_EQ(query(dir / "cairn.db", "SELECT count(*) FROM next"), "0");
}

TEST(SqliteSchema, AMigrationThatFailsLeavesTheOldSchemaWhole) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    const auto migrations = migrations_with({kNext, kNextButOneFails});
    const auto failed = open_sqlite_store(dir / "cairn.db", {}, {.migrations = migrations});
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().code, ErrorCode::kCorrupt) << failed.error().to_string();
    EXPECT_THAT(failed.error().detail, testing::HasSubstr("no such table: nowhere"));
    EXPECT_EQ(query(dir / "cairn.db", "SELECT count(*) FROM sqlite_master WHERE name IN ('next', 'next_but_one')"),
              "0");
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA user_version"), fmt::format("{}", kNewest));
    EXPECT_EQ(store->head("run", soon()).value()->version, 1);
}

TEST(SqliteSchema, AMigrationCutShortByAKillLeavesOneSchemaOrTheOther) {
    const auto migrations = migrations_with({kNext});
    for (int round = 0; round < 10; ++round) {
        const TempDir dir;
        make_store_with_one_run(dir / "cairn.db");
        ChildProcess child([&](const Channel& parent) {
            parent.say(0);
            return open_sqlite_store(dir / "cairn.db", {}, {.migrations = migrations}) ? 0 : 1;
        });
        child.channel().hear();
        for (int spin = 0; spin < round * 200; ++spin) ::getppid();
        child.kill();
        const std::string version = query(dir / "cairn.db", "PRAGMA user_version");
        EXPECT_EQ(query(dir / "cairn.db", "SELECT count(*) FROM sqlite_master WHERE name = 'next'"),
                  version == fmt::format("{}", kNext.version) ? "1" : "0");
        ASSERT_TRUE(open_sqlite_store(dir / "cairn.db", {}, {.migrations = migrations}).has_value());
        EXPECT_EQ(query(dir / "cairn.db", "PRAGMA user_version"), fmt::format("{}", kNext.version));
    }
}

TEST(SqliteSchema, ReadOnlyOpeningNeverMigrates) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    const auto migrations = migrations_with({kNext});
    const auto store = open_sqlite_store(dir / "cairn.db", {.read_only = true}, {.migrations = migrations});
    ASSERT_FALSE(store.has_value());
    EXPECT_EQ(store.error().code, ErrorCode::kReadOnly) << store.error().to_string();
    EXPECT_EQ(query(dir / "cairn.db", "PRAGMA user_version"), fmt::format("{}", kNewest));
}

TEST(SqliteSchema, AMissingTableIsCorruptAndNotADefect) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    execute(dir / "cairn.db", "DROP TABLE snapshots");
    for (const bool read_only : {false, true}) {
        EXPECT_EQ(code_of_opening(dir / "cairn.db", {.read_only = read_only}), ErrorCode::kCorrupt);
    }
    EXPECT_THAT(message_of_opening(dir / "cairn.db"), testing::HasSubstr("table \"snapshots\" is missing"));
}

TEST(SqliteSchema, ATableThatIsDroppedWhileTheStoreIsOpenIsCorruptAndNotADefect) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    execute(dir / "cairn.db", "DROP TABLE snapshots");
    EXPECT_EQ(commit_run(*store, make_batch(make_snapshot("run", 2)), soon()).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(store->get("run", std::nullopt, soon()).error().code, ErrorCode::kCorrupt);
}

// ---- read-only ----

TEST(SqliteReadOnly, NothingInTheFileChangesAndWritesAreRefused) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    const std::string before = content_of(dir / "cairn.db");
    const auto store = open_sqlite_store(dir / "cairn.db", {.read_only = true}).value();
    EXPECT_EQ(store->head("run", soon()).value()->version, 1);
    EXPECT_EQ(commit_run(*store, make_batch(make_snapshot("run", 2)), soon()).error().code, ErrorCode::kReadOnly);
    EXPECT_TRUE(store->check(soon()).value().findings.empty());
    EXPECT_EQ(store->stats(soon()).value().snapshots, 1U);
    ASSERT_TRUE(store->close().has_value());
    EXPECT_TRUE(content_of(dir / "cairn.db") == before);
}

TEST(SqliteReadOnly, ReadingLeavesNoFilesBehind) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    {
        const auto store = open_sqlite_store(dir / "cairn.db", {.read_only = true}).value();
        EXPECT_EQ(store->head("run", soon()).value()->version, 1);
        EXPECT_TRUE(store->check(soon()).value().findings.empty());
    }
    EXPECT_EQ(files_in(dir.path()), std::vector<std::string>{"cairn.db"});
}

// Only a writer can move the log into the database.
TEST(SqliteReadOnly, ReadingLeavesALogWithSavesWhereItIs) {
    const TempDir dir;
    commit_one_run_and_die(dir / "cairn.db");
    const std::string log = content_of(dir / "cairn.db-wal");
    EXPECT_EQ(open_sqlite_store(dir / "cairn.db", {.read_only = true}).value()->head("run", soon()).value()->version,
              1);
    EXPECT_TRUE(content_of(dir / "cairn.db-wal") == log);
}

TEST(SqliteReadOnly, AReaderSeesWhatAWriterCommitsMeanwhile) {
    const TempDir dir;
    make_store_with_one_run(dir / "cairn.db");
    const auto reader = open_sqlite_store(dir / "cairn.db", {.read_only = true}).value();
    const auto writer = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*writer, make_batch(make_snapshot("run", 2)), soon()).has_value());
    EXPECT_EQ(reader->head("run", soon()).value()->version, 2);
}

// Permissions do not bind root, so the tests give up root in a child first.
class Unprivileged : public testing::Test {
protected:
    void SetUp() override {
        if (::getuid() != 0) return;  // this process is unprivileged already
        ChildProcess probe([](const Channel&) { return ::setuid(kNobody) == 0 ? 0 : 1; });
        if (probe.wait() != 0) GTEST_SKIP() << "cannot step down from root here";
    }

    // Runs `body` without privileges. Returns its result.
    template <class Body>
    static int run(Body body) {
        ChildProcess child([&](const Channel&) {
            if (::getuid() == 0 && ::setuid(kNobody) != 0) return 98;
            return body();
        });
        return child.wait();
    }

    void close_folder() { fs::permissions(dir_.path(), fs::perms(0555)); }
    void TearDown() override { fs::permissions(dir_.path(), fs::perms(0755)); }

    // Returns the error code of opening the store, or 100 if it opens.
    int open(const OpenOptions& options) const {
        return run([&] {
            const auto store = open_sqlite_store(dir_ / "cairn.db", options);
            return store ? 100 : static_cast<int>(store.error().code);
        });
    }

    TempDir dir_;
};

TEST_F(Unprivileged, AFolderThatCannotBeWrittenIsReadOnlyForANewStore) {
    close_folder();
    EXPECT_EQ(open({}), static_cast<int>(ErrorCode::kReadOnly));
    EXPECT_TRUE(files_in(dir_.path()).empty());
}

TEST_F(Unprivileged, AFolderThatCannotBeWrittenIsReadOnlyForAnOldStore) {
    make_store_with_one_run(dir_ / "cairn.db");
    fs::permissions(dir_ / "cairn.db", fs::perms(0666));
    close_folder();
    EXPECT_EQ(open({}), static_cast<int>(ErrorCode::kReadOnly));
    EXPECT_EQ(files_in(dir_.path()).size(), 1U);
}

TEST_F(Unprivileged, AFileThatCannotBeWrittenIsReadOnly) {
    make_store_with_one_run(dir_ / "cairn.db");
    fs::permissions(dir_ / "cairn.db", fs::perms(0444));
    fs::permissions(dir_.path(), fs::perms(0777));
    EXPECT_EQ(open({}), static_cast<int>(ErrorCode::kReadOnly));
}

TEST_F(Unprivileged, AFileThatCannotBeReadIsAnErrorOfPermissions) {
    make_store_with_one_run(dir_ / "cairn.db");
    fs::permissions(dir_ / "cairn.db", fs::perms(0));
    fs::permissions(dir_.path(), fs::perms(0777));
    EXPECT_EQ(open({}), static_cast<int>(ErrorCode::kReadOnly));
    EXPECT_EQ(open({.read_only = true}), static_cast<int>(ErrorCode::kReadOnly));
}

TEST_F(Unprivileged, AStoreInAFolderThatCannotBeWrittenIsReadReadOnly) {
    make_store_with_one_run(dir_ / "cairn.db");
    fs::permissions(dir_ / "cairn.db", fs::perms(0644));
    close_folder();
    const int version = run([&] {
        const auto store = open_sqlite_store(dir_ / "cairn.db", {.read_only = true});
        if (!store || !(*store)->check(soon()) || !(*store)->check(soon())->findings.empty()) return 99;
        return static_cast<int>((*store)->get("run", std::nullopt, soon()).value()->info.version);
    });
    EXPECT_EQ(version, 1);
    EXPECT_EQ(files_in(dir_.path()).size(), 1U);
}

// The lock file is missing and cannot be made, so the log is not read. The store must look for the log beside the
// link's target.
TEST_F(Unprivileged, ALogThatCannotBeReadIsSaidThroughALinkToo) {
    commit_one_run_and_die(dir_ / "cairn.db");
    fs::remove(dir_ / "cairn.db-shm");
    fs::permissions(dir_ / "cairn.db", fs::perms(0644));
    fs::permissions(dir_ / "cairn.db-wal", fs::perms(0644));
    const TempDir links;
    fs::create_symlink(dir_ / "cairn.db", links / "cairn.db");
    fs::permissions(links.path(), fs::perms(0555));
    close_folder();
    const int code = run([&] {
        const auto store = open_sqlite_store(links / "cairn.db", {.read_only = true});
        return store ? 100 : static_cast<int>(store.error().code);
    });
    EXPECT_EQ(code, static_cast<int>(ErrorCode::kReadOnly)) << "it was read without its log";
    fs::permissions(links.path(), fs::perms(0755));
}

TEST_F(Unprivileged, ALogThatCannotBeReadWithoutWritingIsSaidAndNotLost) {
    commit_one_run_and_die(dir_ / "cairn.db");
    fs::remove(dir_ / "cairn.db-shm");
    fs::permissions(dir_ / "cairn.db", fs::perms(0644));
    close_folder();
    EXPECT_EQ(open({.read_only = true}), static_cast<int>(ErrorCode::kReadOnly));

    fs::permissions(dir_.path(), fs::perms(0755));
    EXPECT_EQ(open_sqlite_store(dir_ / "cairn.db").value()->head("run", soon()).value()->version, 1);
}

// ---- URLs ----

TEST(StoreUrl, EachUrlOpensWhatItNamesOrSaysWhatIsAccepted) {
    struct Case {
        std::string url;
        std::string expected_in_message;
    };
    for (const Case& wrong : std::vector<Case>{{"sqlite:", "sqlite:cairn.db"},
                                               {"sqlite::memory:", "use memory:"},
                                               {"sqlite:///var/x.db", "sqlite:/var/x.db"},
                                               {"sqlite://", "sqlite:"},
                                               {"cairn.db", "sqlite:PATH"},
                                               {"", "sqlite:PATH"},
                                               {"memory:x", "nothing after the colon"},
                                               {"redis://host", "sqlite:PATH or memory:"},
                                               {"postgresql://u:secret@h/d", "\"postgresql:\" is unknown"}}) {
        const auto store = open_store(wrong.url);
        ASSERT_FALSE(store.has_value()) << wrong.url;
        EXPECT_EQ(store.error().code, ErrorCode::kInvalidArgument) << wrong.url;
        EXPECT_NE(store.error().message.find(wrong.expected_in_message), std::string::npos) << store.error().message;
        EXPECT_EQ(store.error().message.find("secret"), std::string::npos);
    }
    EXPECT_TRUE(open_store("memory:").has_value());
    const TempDir dir;
    EXPECT_TRUE(open_store(dir.sqlite_url()).has_value());
}

}  // namespace
}  // namespace cairn::test
