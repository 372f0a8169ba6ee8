// Goal: a head that is known without asking the file is the store's head: a commit that has returned, in any process or
// thread, is always seen. Log restarts, transactions, killed writers, replaced files and forks do not change that.
// Method: a second process commits in a tight loop and counts its commits in shared memory, while this one asks all the
// time. The other tests do one thing at a time beside a connection that knows a head.

#include "store/sqlite/database_file.h"
#include "store/sqlite/known_heads.h"
#include "store/sqlite/reader.h"
#include "store/sqlite/sqlite_schema.h"
#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <tuple>

namespace cairn::sqlite {
namespace {

using test::ChildProcess;
using test::make_batch;
using test::make_snapshot;
using test::soon;
using test::TempDir;

/// A number that a process and its children share.
class SharedCount {
public:
    SharedCount() : memory_(::mmap(nullptr, sizeof(Count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
        if (memory_ == MAP_FAILED) throw std::bad_alloc();
        count_ = new (memory_) Count(0);
    }
    ~SharedCount() { ::munmap(memory_, sizeof(Count)); }
    SharedCount(const SharedCount&) = delete;
    SharedCount& operator=(const SharedCount&) = delete;

    void set(std::int64_t value) const { count_->store(value); }
    std::int64_t get() const { return count_->load(); }

private:
    using Count = std::atomic<std::int64_t>;
    void* memory_;
    Count* count_ = nullptr;
};

/// A connection that reads heads.
class Watched {
public:
    explicit Watched(const std::filesystem::path& path)
        : opened_(DatabaseFile::open(path, {}, migrations(), [](const LogRecord&) {}, soon()).value()) {
        connection().set_deadline(soon());
    }

    Connection& connection() { return *opened_.connection; }
    KnownHeads::Answer read() { return head(connection(), "run").value(); }
    /// Says whether `read` would not ask the file.
    bool knows() {
        const std::optional<IndexHeader> moment = connection().moment();
        return moment && connection().known_heads().find(*moment, "run") != nullptr;
    }

private:
    DatabaseFile::Opened opened_;
};

std::int64_t version_of(const KnownHeads::Answer& head) {
    return head ? head->version : 0;
}

/// Saves in turn with emptying the log, and tells each commit that has returned.
int save_in_child(const std::filesystem::path& path, std::int64_t versions, const SharedCount& committed) {
    const auto store = open_sqlite_store(path);
    if (!store) return 2;
    for (std::int64_t version = 1; version <= versions; ++version) {
        if (!commit_run(**store, make_batch(make_snapshot("run", version)), soon())) return 3;
        committed.set(version);
        if (version % 16 == 0 && !(*store)->stats(soon())) return 4;  // empties the log, so that it starts again
    }
    return 0;
}

/// Saves on top of the head until it is killed, and tells each commit that has returned.
int save_without_end(const std::filesystem::path& path, const SharedCount& committed) {
    const auto store = open_sqlite_store(path);
    if (!store) return 2;
    for (std::int64_t version = version_of((*store)->head("run", soon()).value()) + 1;; ++version) {
        if (!commit_run(**store, make_batch(make_snapshot("run", version)), soon())) return 3;
        committed.set(version);
    }
}

/// Another process saves the versions once it is told to.
class BesideASaver : public testing::Test {
protected:
    static constexpr std::int64_t kVersions = 120;

    const TempDir dir;
    const SharedCount committed;
    ChildProcess saver{[this](const test::Channel& channel) {
        channel.hear();
        return save_in_child(dir / "cairn.db", kVersions, committed);
    }};
};

TEST_F(BesideASaver, ACommitOfAnotherProcessThatHasReturnedIsAlwaysSeen) {
    Watched store(dir / "cairn.db");
    saver.channel().say(1);
    std::int64_t known = 0;
    for (std::int64_t last = 0; last < kVersions;) {
        const std::int64_t told = committed.get();
        known += store.knows() ? 1 : 0;
        last = version_of(store.read());
        ASSERT_GE(last, told);
    }
    EXPECT_EQ(saver.wait(), 0);
    EXPECT_GT(known, kVersions);
}

TEST(SqliteKnownHeads, AWriterThatIsKilledLeavesNoOldHeadKnown) {
    constexpr int kWriters = 25;
    const TempDir dir;
    const SharedCount committed;
    for (int writer = 0; writer < kWriters; ++writer) {
        ChildProcess saver([&](const test::Channel& channel) {
            channel.hear();
            return save_without_end(dir / "cairn.db", committed);
        });
        Watched store(dir / "cairn.db");
        saver.channel().say(1);
        const std::int64_t enough = version_of(store.read()) + 3;
        while (committed.get() < enough) {
            const std::int64_t told = committed.get();
            ASSERT_GE(version_of(store.read()), told);
        }
        EXPECT_EQ(saver.kill(), -SIGKILL);
        const std::int64_t seen = version_of(store.read());
        EXPECT_GE(seen, committed.get());
        EXPECT_TRUE(store.knows());
        EXPECT_EQ(version_of(Watched(dir / "cairn.db").read()), seen);
    }
}

TEST_F(BesideASaver, ACommitThatHasReturnedIsSeenThroughTheStore) {
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    saver.channel().say(1);
    const auto watch = [&] {
        for (std::int64_t last = 0; last < kVersions;) {
            const std::int64_t told = committed.get();
            const auto head = store->head("run", soon());
            ASSERT_TRUE(head.has_value()) << head.error().to_string();
            last = version_of(*head);
            ASSERT_GE(last, told);
        }
    };
    std::thread other(watch);
    watch();
    other.join();
    EXPECT_EQ(saver.wait(), 0);
}

TEST(SqliteKnownHeads, ACommitThroughTheSameStoreIsSeen) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    for (std::int64_t version = 1; version <= 50; ++version) {
        ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot("run", version)), soon()));
        for (int ask = 0; ask < 10; ++ask) EXPECT_EQ(version_of(store->head("run", soon()).value()), version);
    }
    ASSERT_TRUE(store->close());
    EXPECT_EQ(store->head("run", soon()).error().code, ErrorCode::kClosed);
}

TEST(SqliteKnownHeads, ARunIsUnknownOnceAnotherConnectionMakesOrDeletesIt) {
    const TempDir dir;
    Watched store(dir / "cairn.db");
    EXPECT_EQ(store.read(), std::nullopt);
    EXPECT_TRUE(store.knows());
    const auto writer = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*writer, make_batch(make_snapshot("run", 1)), soon()));
    EXPECT_FALSE(store.knows());
    EXPECT_EQ(version_of(store.read()), 1);
    EXPECT_TRUE(store.knows());
    ASSERT_TRUE(commit_run(*writer, {.run_id = "run", .run_deletion = RunDeletion{}}, soon()));
    EXPECT_FALSE(store.knows());
    EXPECT_EQ(store.read(), std::nullopt);
}

TEST(SqliteKnownHeads, AHeadThatWasReadBeforeALaterCommitIsNotTakenForTheNewOne) {
    const TempDir dir;
    Watched store(dir / "cairn.db");
    const auto writer = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*writer, make_batch(make_snapshot("run", 1)), soon()));
    const IndexHeader before = store.connection().moment().value();
    const KnownHeads::Answer old = store.read();
    ASSERT_TRUE(commit_run(*writer, make_batch(make_snapshot("run", 2)), soon()));
    store.connection().known_heads().remember(before, "run", old);
    EXPECT_FALSE(store.knows());
    EXPECT_EQ(version_of(store.read()), 2);
}

TEST(SqliteKnownHeads, ATransactionThatSeesAnEarlierMomentMakesNothingKnown) {
    const TempDir dir;
    Watched store(dir / "cairn.db");
    const auto writer = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_run(*writer, make_batch(make_snapshot("run", 1)), soon()));
    Transaction transaction(store.connection());
    ASSERT_TRUE(transaction.begin(Transaction::kRead));
    EXPECT_EQ(version_of(store.read()), 1);
    ASSERT_TRUE(commit_run(*writer, make_batch(make_snapshot("run", 2)), soon()));
    EXPECT_EQ(version_of(store.read()), 1);
    EXPECT_FALSE(store.knows());
    transaction.rollback();
    EXPECT_EQ(version_of(store.read()), 2);
}

TEST(SqliteKnownHeads, ALogThatStartsAgainMakesNothingKnown) {
    const TempDir dir;
    Watched store(dir / "cairn.db");
    const auto writer = open_sqlite_store(dir / "cairn.db").value();
    for (std::int64_t version = 1; version <= 20; ++version) {
        ASSERT_TRUE(commit_run(*writer, make_batch(make_snapshot("run", version)), soon()));
        EXPECT_EQ(version_of(store.read()), version);
        EXPECT_TRUE(store.knows());
        ASSERT_TRUE(writer->stats(soon()));  // empties the log
        EXPECT_FALSE(store.knows());
        EXPECT_EQ(version_of(store.read()), version);
        EXPECT_TRUE(store.knows());
    }
}

TEST(SqliteKnownHeads, AHeaderThatIsBeingWrittenSaysNothing) {
    std::array<std::uint32_t, 2 * std::tuple_size_v<IndexHeader> + 1> memory{};
    for (std::size_t word = 0; word < std::tuple_size_v<IndexHeader>; ++word) {
        memory[word] = memory[word + std::tuple_size_v<IndexHeader>] = static_cast<std::uint32_t>(word) + 1;
    }
    EXPECT_TRUE(read_index_header(memory.data()).has_value());
    for (std::size_t word = 0; word < 2 * std::tuple_size_v<IndexHeader>; ++word) {
        ++memory[word];
        EXPECT_EQ(read_index_header(memory.data()), std::nullopt) << word;
        --memory[word];
    }
}

/// A store at "cairn.db" that knows the head of a run, version 2, and a copy at "copy.db" from before, with version 1.
/// The log is empty.
std::shared_ptr<Store> store_and_earlier_copy(const TempDir& dir) {
    auto store = open_sqlite_store(dir / "cairn.db").value();
    for (std::int64_t version = 1; version <= 2; ++version) {
        if (version == 2) std::filesystem::copy_file(dir / "cairn.db", dir / "copy.db");
        EXPECT_TRUE(commit_run(*store, make_batch(make_snapshot("run", version)), soon()));
        EXPECT_TRUE(store->stats(soon()));
    }
    for (int ask = 0; ask < 3; ++ask) EXPECT_EQ(version_of(store->head("run", soon()).value()), 2);
    return store;
}

// A skip that relied on it would be acknowledged, and its state would be in a file that nobody finds again.
TEST(SqliteKnownHeads, TheHeadOfAFileThatLostItsNameIsNotKnown) {
    const TempDir dir;
    const auto store = store_and_earlier_copy(dir);
    std::filesystem::rename(dir / "cairn.db", dir / "moved.db");
    const auto head = store->head("run", soon());
    ASSERT_FALSE(head.has_value());
    EXPECT_EQ(head.error().code, ErrorCode::kUnavailable);
}

TEST(SqliteKnownHeads, TheHeadOfAFileWhoseNameAnotherHasTakenIsNotKnown) {
    const TempDir dir;
    const auto store = store_and_earlier_copy(dir);
    std::filesystem::rename(dir / "copy.db", dir / "cairn.db");
    const auto head = store->head("run", soon());
    ASSERT_TRUE(head.has_value()) << head.error().to_string();
    EXPECT_EQ(version_of(*head), 1);
}

TEST(SqliteKnownHeads, AForkedChildKnowsNothing) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    for (int ask = 0; ask < 20; ++ask) ASSERT_TRUE(store->head("run", soon()));
    ChildProcess child([&](const test::Channel&) {
        const auto head = store->head("run", soon());
        return !head && head.error().code == ErrorCode::kClosed ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), 0);
    EXPECT_TRUE(store->head("run", soon()));
}

}  // namespace
}  // namespace cairn::sqlite
