// Goal: what writers leave in the log without having published it never looks like damage, and no real damage is
// hidden. Method: writers die, or their sync fails, when their frames are written and not yet published: each writes
// fewer frames than the one before. Then a short commit is acknowledged, and every process dies without closing.
// Another process keeps the log open all the time, so that nobody recovers it or moves it into the database meanwhile.

#include "fault/log_frames.h"
#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/database_bytes.h"
#include "support/fault_vfs.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kDied = 77;

// Strikes at the sync of a commit (the first sync of the log after frames were written to it), or between its frames.
class CommitVfs final : public ForwardingVfs {
public:
    enum class Strike : std::uint8_t { kNone, kDie, kDieHalfWay, kFail };

    void arm(Strike strike) {
        strike_ = strike;
        writes_ = 0;
    }
    int on_call(DiskCall& call) override {
        const bool is_log = call.path != nullptr && std::string_view(call.path).ends_with("-wal");
        if (is_log && call.operation == DiskOperation::kWrite) ++writes_;
        if (strike_ == Strike::kDieHalfWay && writes_ > kWritesOfHalf) std::_Exit(kDied);
        const bool is_due = is_log && call.operation == DiskOperation::kSync && writes_ > 0;
        if (is_due && strike_ == Strike::kDie) std::_Exit(kDied);
        return is_due && strike_ == Strike::kFail ? SQLITE_IOERR_FSYNC : call.forward();
    }

private:
    static constexpr int kWritesOfHalf = 20;  // two a frame

    Strike strike_ = Strike::kNone;
    int writes_ = 0;
};

class SqliteLeftovers : public testing::Test {
protected:
    static constexpr std::int64_t kSaved = 3;

    // Another process saves the first versions, and keeps the store open.
    void SetUp() override {
        holder_ = std::make_unique<ChildProcess>([this](const Channel& parent) {
            const auto store = open_sqlite_store(database_);
            if (!store) return 1;
            for (std::int64_t version = 1; version <= kSaved; ++version) {
                if (!save(**store, "run", version)) return 2;
            }
            parent.say(1);
            parent.hear();
            return 3;
        });
        ASSERT_TRUE(holder_->channel().hear().has_value());
        published_ = log_bytes();
    }

    std::uintmax_t log_bytes() const { return fs::file_size(log_); }

    // In another process, which ends without closing the store. `work` returns whether it did what it should.
    void in_a_process_that_dies(const std::function<bool(const std::shared_ptr<Store>&)>& work) {
        ChildProcess child([&](const Channel&) {
            const auto store = open_sqlite_store(database_);
            std::_Exit(store && work(*store) ? 0 : 1);
            return 1;
        });
        ASSERT_EQ(child.wait(), 0);
    }

    bool move_log_into_database() const {
        sqlite3* engine = nullptr;
        const bool is_moved =
            sqlite3_open(database_.c_str(), &engine) == SQLITE_OK &&
            sqlite3_exec(engine, "PRAGMA wal_checkpoint(PASSIVE)", nullptr, nullptr, nullptr) == SQLITE_OK;
        sqlite3_close(engine);
        return is_moved;
    }

    // The frames of this save are written, and not published.
    void die_in_the_commit_of(const std::string& run, std::size_t letters) {
        ChildProcess child([&](const Channel&) {
            CommitVfs vfs;
            const auto store = open_sqlite_store(database_).value();
            vfs.arm(CommitVfs::Strike::kDie);
            static_cast<void>(save(*store, run, 1, letters));
            return 1;
        });
        ASSERT_EQ(child.wait(), kDied);
    }

    // Everybody dies. The first to open the store then finds only what was acknowledged.
    void expect_no_damage_after_the_end_of_all(std::int64_t head) {
        holder_.reset();
        ASSERT_GT(log_bytes(), kLogHeaderBytes);
        const auto reader = open_sqlite_store(database_, {.read_only = true}).value();
        expect_sound(*reader, head);
        std::vector<std::string> told;
        const OpenOptions options{.runtime = {.log = [&](const LogRecord& record) {
                                      if (record.event == "store_log_set_aside") told.push_back(record.message);
                                  }}};
        const auto store = open_sqlite_store(database_, options).value();
        expect_sound(*store, head);
        EXPECT_THAT(told, IsEmpty());
        EXPECT_THAT(logs_set_aside(), IsEmpty());
    }

    static void expect_sound(Store& store, std::int64_t head) {
        EXPECT_EQ(store.head("run", soon()).value()->version, head);
        for (const char* run : {"long", "middle"}) EXPECT_FALSE(store.head(run, soon()).value().has_value()) << run;
        const CheckReport report = store.check(soon()).value();
        for (const auto& finding : report.findings) ADD_FAILURE() << finding.problem;
    }

    std::vector<std::string> logs_set_aside() const {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(dir_.path())) {
            std::string name = entry.path().filename().native();
            if (name.starts_with("cairn.db-wal.")) names.push_back(std::move(name));
        }
        return names;
    }

    TempDir dir_;
    fs::path database_ = dir_ / "cairn.db";
    fs::path log_ = dir_ / "cairn.db-wal";
    std::unique_ptr<ChildProcess> holder_;
    std::uintmax_t published_ = 0;
};

TEST_F(SqliteLeftovers, ProcessesThatDieBeforeTheyPublishTheirCommitsLeaveNoDamage) {
    die_in_the_commit_of("long", 200'000);
    const std::uintmax_t of_long = log_bytes();
    ASSERT_GT(of_long, published_) << "there is nothing behind the log's end";
    die_in_the_commit_of("middle", 60'000);
    EXPECT_LT(log_bytes(), of_long) << "it wrote over the leftovers";
    EXPECT_GT(log_bytes(), published_);
    in_a_process_that_dies([](const auto& store) { return save(*store, "run", kSaved + 1).has_value(); });
    expect_no_damage_after_the_end_of_all(kSaved + 1);
}

TEST_F(SqliteLeftovers, AProcessWhoseSyncsFailGoesOnAndLeavesNoDamage) {
    ChildProcess child([&](const Channel&) {
        CommitVfs vfs;
        const auto store = open_sqlite_store(database_).value();
        for (const auto& [run, letters] : {std::pair{"long", 200'000U}, {"middle", 60'000U}}) {
            vfs.arm(CommitVfs::Strike::kFail);
            const Status failed = save(*store, run, 1, letters);
            if (failed) return 1;
            if (failed.error().code != ErrorCode::kOutcomeUnknown) return 2;
            if (log_bytes() <= published_) return 3;
            vfs.arm(CommitVfs::Strike::kNone);
        }
        std::_Exit(save(*store, "run", kSaved + 1) ? 0 : 4);
        return 5;
    });
    ASSERT_EQ(child.wait(), 0);
    expect_no_damage_after_the_end_of_all(kSaved + 1);
}

TEST_F(SqliteLeftovers, ASaveThatCannotCutThemOffFailsAndIsNotApplied) {
    die_in_the_commit_of("long", 200'000);
    const std::string log = content_of(log_);
    ChildProcess child([&](const Channel&) {
        FaultVfs vfs;
        const auto store = open_sqlite_store(database_).value();
        for (const DiskOperation operation : {DiskOperation::kTruncate, DiskOperation::kSync}) {
            vfs.arm({.operation = operation});
            const Status failed = save(*store, "run", kSaved + 1);
            if (failed || vfs.struck_operation() != operation) return 1;
            if (failed.error().code != ErrorCode::kUnavailable) return 2;
            if (operation == DiskOperation::kTruncate && content_of(log_) != log) return 3;
            vfs.disarm();
            if (store->head("run", soon()).value()->version != kSaved) return 4;
        }
        std::_Exit(save(*store, "run", kSaved + 1) ? 0 : 5);
        return 6;
    });
    ASSERT_EQ(child.wait(), 0);
    expect_no_damage_after_the_end_of_all(kSaved + 1);
}

// Nothing of that log is published then. Whoever opens it next goes on with its salts, from its first frame.
TEST_F(SqliteLeftovers, AProcessThatDiesHalfWayThroughTheFirstCommitOfALogLeavesNoDamage) {
    holder_.reset();
    ChildProcess child([&](const Channel&) {
        CommitVfs vfs;
        const auto store = open_sqlite_store(database_).value();
        if (!save_up_to(20, *store) || !move_log_into_database()) return 1;
        vfs.arm(CommitVfs::Strike::kDieHalfWay);
        static_cast<void>(save(*store, "long", 1, 200'000));
        return 2;
    });
    ASSERT_EQ(child.wait(), kDied);
    in_a_process_that_dies([](const auto& store) { return save(*store, "run", 21).has_value(); });
    EXPECT_EQ(log_bytes(), kLogHeaderBytes + 5 * kFrameBytes) << "the leftovers are still there";
    expect_no_damage_after_the_end_of_all(21);
}

// The frames of an older log lie behind the end of one that was begun anew. They stay, and so does the file's size.
TEST_F(SqliteLeftovers, ALogThatBeganAnewIsNotCutOff) {
    in_a_process_that_dies([&](const auto& store) {
        if (!save_up_to(20, *store) || !move_log_into_database()) return false;
        const std::string before = content_of(log_);
        if (!save_up_to(23, *store)) return false;
        const std::string after = content_of(log_);
        return before.size() == after.size() && before.substr(0, kLogHeaderBytes) != after.substr(0, kLogHeaderBytes);
    });
    expect_no_damage_after_the_end_of_all(23);
}

// Power is lost before the frames of two long commits are on disk. Of each, the first frame has not come to the disk,
// and the last ones have. In between, short commits are acknowledged.
TEST_F(SqliteLeftovers, CommitsWhoseFirstFrameWasLostAreCutOffToo) {
    holder_.reset();
    std::int64_t version = kSaved;
    for (const auto& [run, letters] : {std::pair{"long", 200'000U}, {"middle", 60'000U}}) {
        const std::uintmax_t end = log_bytes();
        die_in_the_commit_of(run, letters);
        ASSERT_GT(log_bytes(), end + 2 * kFrameBytes) << "the log was not left as it was";
        std::string log = content_of(log_);
        std::ofstream(log_, std::ios::binary) << log.replace(end, kFrameBytes, kFrameBytes, '\0');
        in_a_process_that_dies([&](const auto& store) { return save(*store, "run", version + 1).has_value(); });
        ++version;
    }
    expect_no_damage_after_the_end_of_all(version);
}

}  // namespace
}  // namespace cairn::test
