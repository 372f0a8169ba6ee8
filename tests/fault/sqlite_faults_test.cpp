// Goal: whatever the disk does, a commit tells the truth. Success means that the batch is there, "nothing applied" that
// it is not, and "unknown" that it is there wholly or not at all. The same ids are never saved twice. The store stays
// usable.
// Method, as in SQLite's own tests: fails each write, sync and truncation at its 1st, 2nd, 3rd … step, once and for
// good, before and after the effect. Then reopens the store, looks, and tries again. A full disk and damaged bytes must
// meet the same goal.

#include "store/sqlite/sqlite_schema.h"
#include "store/sqlite/sqlite_store.h"
#include "support/child_process.h"
#include "support/fault_vfs.h"
#include "support/make.h"
#include "support/small_volume.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;
using Operation = FaultVfs::Operation;

void expect_sound(Store& store, const std::string& where) {
    const Result<CheckReport> report = store.check(soon());
    ASSERT_TRUE(report.has_value()) << where << ": " << report.error().to_string();
    for (const auto& finding : report->findings) {
        ADD_FAILURE() << where << ": " << finding.run_id << " " << finding.snapshot_id << ": " << finding.problem;
    }
}

// Makes a commit of two runs at `version` and a line of the recovery log. This store makes it one transaction. It is
// large enough for several pages.
std::vector<RunBatch> make_two(std::int64_t version) {
    const std::string text = fmt::format(R"({{"version":{},"filler":"{}"}})", version, std::string(9'000, 'x'));
    std::vector<RunBatch> batches{make_batch(make_snapshot("a", version, text)),
                                  make_batch(make_snapshot("b", version, text))};
    batches.front().recoveries.push_back({.run_id = "a", .result = "recovered"});
    return batches;
}

// Returns the version that both runs have. Returns -1 if they differ, which means that a commit was torn.
std::int64_t version_of_both(Store& store) {
    const auto a = store.head("a", soon()).value();
    const auto b = store.head("b", soon()).value();
    const std::int64_t version = a ? a->version : 0;
    const auto log = store.recovery_log("a", 1000, soon()).value();
    const bool whole = a.has_value() == b.has_value() && (!b || b->version == version) &&
                       log.size() == static_cast<std::size_t>(version);
    if (!whole) return -1;
    for (const std::string run : {"a", "b"}) {
        const auto history = store.history({.run_id = run, .limit = 1000}, soon()).value();
        if (history.size() != static_cast<std::size_t>(version)) return -1;
    }
    return version;
}

bool nothing_applied(ErrorCode code) {
    return code == ErrorCode::kUnavailable || code == ErrorCode::kStorageFull || code == ErrorCode::kReadOnly;
}

struct Struck {
    std::int64_t acknowledged = 0;     // the last version
    std::optional<ErrorCode> failure;  // of the version after it
};
// Commits versions until the fault has struck, or three without it.
Struck commit_until_struck(Store& store, const FaultVfs& vfs, std::int64_t first) {
    Struck struck{.acknowledged = first - 1};
    for (std::int64_t version = first; version < first + 3; ++version) {
        const Status status = commit_all(store, make_two(version), soon());
        if (!status) {
            struck.failure = status.error().code;
            return struck;
        }
        struck.acknowledged = version;
        if (vfs.struck()) return struck;
    }
    return struck;
}

void expect_truth(Store& store, const Struck& struck, const std::string& where) {
    const std::int64_t version = version_of_both(store);
    ASSERT_NE(version, -1) << where << ": a batch is there in part";
    const bool may_be_there = struck.failure == ErrorCode::kOutcomeUnknown;
    ASSERT_GE(version, struck.acknowledged) << where << ": an acknowledged commit is gone";
    ASSERT_LE(version, struck.acknowledged + (may_be_there ? 1 : 0)) << where << ": a refused commit is there";
}

void expect_retry_is_harmless(Store& store, const Struck& struck, const std::string& where) {
    const std::int64_t next = struck.acknowledged + 1;
    const Status retry = commit_all(store, make_two(next), soon());
    if (!retry) {
        ASSERT_EQ(retry.error().code, ErrorCode::kAlreadyExists) << where << ": " << retry.error().to_string();
    }
    ASSERT_EQ(version_of_both(store), next) << where;
    expect_sound(store, where);
}

// Tests one fault, from a fresh store to the retry. Returns whether it struck.
bool survive(const FaultVfs::Fault& fault, bool reopen) {
    const std::string where = fmt::format("{} number {} fails with {} {}, {} the effect{}",
                                          fault.operation == Operation::kWrite  ? "write"
                                          : fault.operation == Operation::kSync ? "sync"
                                                                                : "truncation",
                                          fault.nth, fault.result_code, fault.for_good ? "for good" : "once",
                                          fault.after_effect ? "after" : "before", reopen ? ", reopened" : "");
    const TempDir dir;
    FaultVfs vfs;
    auto store = open_sqlite_store(dir / "cairn.db").value();
    EXPECT_TRUE(commit_all(*store, make_two(1), soon()).has_value());
    EXPECT_EQ(version_of_both(*store), 1);

    vfs.arm(fault);
    const Struck struck = commit_until_struck(*store, vfs, 2);
    if (struck.failure) {
        EXPECT_TRUE(nothing_applied(*struck.failure) || struck.failure == ErrorCode::kOutcomeUnknown)
            << where << ": " << error_info(*struck.failure).name;
        EXPECT_TRUE(vfs.struck()) << where << ": a failure without a fault";
    }
    const bool did_strike = vfs.struck();
    vfs.disarm();
    if (reopen) {
        store.reset();
        store = open_sqlite_store(dir / "cairn.db").value();
    }
    expect_truth(*store, struck, where);
    expect_retry_is_harmless(*store, struck, where);
    return did_strike;
}

void survive_every(Operation operation, int result_code, int at_least) {
    for (const bool for_good : {false, true}) {
        for (const bool after_effect : {false, true}) {
            // A disk that reports itself full has not written the bytes.
            if (after_effect && result_code == SQLITE_FULL) continue;
            int nth = 1;
            const auto fault = [&] {
                return FaultVfs::Fault{.operation = operation,
                                       .nth = nth,
                                       .result_code = result_code,
                                       .for_good = for_good,
                                       .after_effect = after_effect};
            };
            while (survive(fault(), nth % 2 == 0)) {
                survive(fault(), nth % 2 != 0);
                ++nth;
            }
            EXPECT_GT(nth, at_least) << "fewer operations than a commit has: nothing was tested";
        }
    }
}

TEST(SqliteFaults, AFailedWriteLosesAndDuplicatesNothing) {
    survive_every(Operation::kWrite, SQLITE_IOERR_WRITE, 10);
}

TEST(SqliteFaults, AFailedSyncLosesAndDuplicatesNothing) {
    survive_every(Operation::kSync, SQLITE_IOERR_FSYNC, 3);
}

TEST(SqliteFaults, AFullDiskLosesAndDuplicatesNothing) {
    survive_every(Operation::kWrite, SQLITE_FULL, 10);
}

TEST(SqliteFaults, AFailedSyncOfACommitIsReportedAsUnknown) {
    const TempDir dir;
    FaultVfs vfs;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_all(*store, make_two(1), soon()).has_value());
    vfs.arm({.operation = Operation::kSync, .nth = 1, .result_code = SQLITE_IOERR_FSYNC});
    EXPECT_EQ(commit_all(*store, make_two(2), soon()).error().code, ErrorCode::kOutcomeUnknown);
    vfs.disarm();
    expect_retry_is_harmless(*store, {.acknowledged = 1}, "after the failed sync");
}

TEST(SqliteFaults, AFullDiskIsStorageFullAndNotUnknown) {
    const TempDir dir;
    FaultVfs vfs;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    ASSERT_TRUE(commit_all(*store, make_two(1), soon()).has_value());
    vfs.arm({.operation = Operation::kWrite, .nth = 2, .result_code = SQLITE_FULL, .for_good = true});
    EXPECT_EQ(commit_all(*store, make_two(2), soon()).error().code, ErrorCode::kStorageFull);
    EXPECT_EQ(commit_all(*store, make_two(2), soon()).error().code, ErrorCode::kStorageFull);
    EXPECT_EQ(version_of_both(*store), 1) << "what was there stays readable on a full disk";
    vfs.disarm();
    EXPECT_TRUE(commit_all(*store, make_two(2), soon()).has_value());
}

// A checkpoint only copies commits that are safe in the log, so its failure must not fail a commit.
TEST(SqliteFaults, AFailedCheckpointFailsNoCommitAndLosesNothing) {
    for (const auto operation : {Operation::kWrite, Operation::kSync, Operation::kTruncate}) {
        for (int nth = 1; nth < 12; ++nth) {
            const TempDir dir;
            FaultVfs vfs;
            auto store = open_sqlite_store(dir / "cairn.db").value();
            ASSERT_TRUE(commit_all(*store, make_two(1), soon()).has_value());
            vfs.arm({.operation = operation, .nth = nth, .result_code = SQLITE_IOERR});
            EXPECT_EQ(store->stats(soon()).value().snapshots, 2U);
            vfs.disarm();
            EXPECT_TRUE(commit_all(*store, make_two(2), soon()).has_value());
            store.reset();
            store = open_sqlite_store(dir / "cairn.db").value();
            EXPECT_EQ(version_of_both(*store), 2);
            expect_sound(*store, "after a failed checkpoint");
        }
    }
}

TEST(SqliteFaults, OpeningThatFailsLeavesACompleteStoreOrNothing) {
    for (const auto operation : {Operation::kWrite, Operation::kSync}) {
        int nth = 1;
        for (;; ++nth) {
            const TempDir dir;
            FaultVfs vfs;
            vfs.arm({.operation = operation, .nth = nth, .result_code = SQLITE_FULL, .for_good = true});
            const auto store = open_sqlite_store(dir / "cairn.db");
            if (!vfs.struck()) break;
            vfs.disarm();
            if (store) continue;
            EXPECT_EQ(store.error().code, ErrorCode::kStorageFull) << store.error().to_string();
            const bool made = fs::exists(dir / "cairn.db");
            EXPECT_EQ(fs::is_empty(dir.path()), !made);
            EXPECT_TRUE(open_sqlite_store(dir / "cairn.db", {.create = !made}).has_value());
        }
        EXPECT_GT(nth, 1);
    }
}

// ---- a disk that is really full ----

TEST(SqliteSmallDisk, AFullDiskIsSaidAndTheStoreGoesOnOnceThereIsSpace) {
    const TempDir dir;
    const SmallVolume disk(dir / "disk", 1U << 20);
    if (!disk.is_there()) GTEST_SKIP() << "a small volume cannot be mounted here (needs root)";
    std::ofstream(disk / "ballast") << std::string(300'000, 'x');
    const auto store = open_sqlite_store(disk / "cairn.db").value();
    std::int64_t version = 1;
    Status status;
    while ((status = commit_all(*store, make_two(version), soon()))) ++version;
    EXPECT_EQ(status.error().code, ErrorCode::kStorageFull) << status.error().to_string();
    ASSERT_GT(version, 2);
    EXPECT_EQ(version_of_both(*store), version - 1);
    EXPECT_EQ(store->get("a", "a-1", soon()).value()->info.version, 1);
    EXPECT_TRUE(store->stats(soon()).has_value());

    fs::remove(disk / "ballast");
    ASSERT_TRUE(commit_all(*store, make_two(version), soon()).has_value());
    EXPECT_EQ(version_of_both(*store), version);
    expect_sound(*store, "after the full disk");
}

TEST(SqliteSmallDisk, AStoreCannotBeMadeOnAFullDiskAndLeavesNothing) {
    const TempDir dir;
    const SmallVolume disk(dir / "disk", 1U << 20);
    if (!disk.is_there()) GTEST_SKIP() << "a small volume cannot be mounted here (needs root)";
    std::ofstream(disk / "ballast") << std::string(2'000'000, 'x');
    const auto store = open_sqlite_store(disk / "cairn.db");
    ASSERT_FALSE(store.has_value());
    EXPECT_EQ(store.error().code, ErrorCode::kStorageFull) << store.error().to_string();
    EXPECT_EQ(std::distance(fs::directory_iterator(disk / ""), fs::directory_iterator()), 1);
}

// ---- one run's rows ----

/// While it lives, no connection that this process opens stores a value or a row of more than so many bytes.
class SmallValues {
public:
    explicit SmallValues(int bytes_max) {
        limit() = bytes_max;
        sqlite3_auto_extension(reinterpret_cast<void (*)()>(on_open));
    }
    ~SmallValues() { sqlite3_reset_auto_extension(); }
    SmallValues(const SmallValues&) = delete;
    SmallValues& operator=(const SmallValues&) = delete;

private:
    static int& limit() {
        static int bytes = 0;
        return bytes;
    }
    static int on_open(sqlite3* database, char** /*message*/, const void* /*routines*/) {
        sqlite3_limit(database, SQLITE_LIMIT_LENGTH, limit());
        return SQLITE_OK;
    }
};

// The engine's limit is a billion bytes; a smaller one is the same to it.
class TooLargeForTheEngine : public testing::Test {
protected:
    static constexpr std::size_t kTooMany = 60'000;

    static std::string text_of(std::size_t bytes) {
        return fmt::format(R"({{"filler":"{}"}})", std::string(bytes, 'x'));
    }
    static RunBatch small(const std::string& run_id) { return make_batch(make_snapshot(run_id, 2)); }

    // Commits `large`, of run "large", beside batches of two other runs, in this order.
    void expect_refused(const RunBatch& large, std::size_t place) {
        const TempDir dir;
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        for (const char* run : {"a", "b", "large"}) {
            ASSERT_TRUE(commit_run(*store, make_batch(make_snapshot(run, 1)), soon()).has_value());
        }
        std::vector<RunBatch> batches{small("a"), small("b")};
        batches.insert(batches.begin() + static_cast<std::ptrdiff_t>(place), large);
        const auto answers = store->commit(batches, soon());
        ASSERT_TRUE(answers.has_value()) << answers.error().to_string();
        for (std::size_t i = 0; i < answers->size(); ++i) {
            const Status& answer = (*answers)[i];
            EXPECT_EQ(answer.has_value(), i != place) << batches[i].run_id;
            EXPECT_EQ(store->head(batches[i].run_id, soon()).value()->version, i == place ? 1 : 2);
            if (i != place || answer) continue;
            EXPECT_EQ(answer.error().code, ErrorCode::kLimitExceeded) << answer.error().to_string();
            EXPECT_TRUE(answer.error().message.starts_with("run \"large\": ")) << answer.error().message;
        }
        EXPECT_EQ(store->history({.run_id = "large"}, soon()).value().size(), 1U);
        EXPECT_TRUE(store->recovery_log("large", 10, soon()).value().empty());
        EXPECT_FALSE(store->lease("large", soon()).value().has_value());
        expect_sound(*store, fmt::format("large at place {}", place));
    }

    void expect_refused_at_every_place(const RunBatch& large) {
        for (std::size_t place = 0; place < 3; ++place) expect_refused(large, place);
    }

private:
    const SmallValues small_values_{50'000};
};

TEST_F(TooLargeForTheEngine, AFrameIsRefusedForItsRunAlone) {
    expect_refused_at_every_place(make_batch(make_snapshot("large", 2, text_of(kTooMany))));
}

TEST_F(TooLargeForTheEngine, ARowIsRefusedForItsRunAloneThoughEachOfItsValuesFits) {
    Snapshot snapshot = make_snapshot("large", 2, text_of(30'000));
    snapshot.info.metadata = text_of(30'000);
    expect_refused_at_every_place(make_batch(std::move(snapshot)));
}

TEST_F(TooLargeForTheEngine, NothingOfABatchIsAppliedWhoseLaterPartsAreRefused) {
    RunBatch batch = make_batch(make_snapshot("large", 2));
    batch.lease = LeaseWrite{.lease = {.owner = "ann", .epoch = 1}};
    batch.writes.push_back(make_write(make_snapshot("large", 3, text_of(kTooMany))));
    expect_refused_at_every_place(batch);
    batch.writes.pop_back();
    batch.recoveries.push_back({.run_id = "large", .detail = text_of(kTooMany)});
    expect_refused_at_every_place(batch);
    batch.recoveries.clear();
    batch.rewrites.push_back({.version = 1, .frame = text_of(kTooMany)});
    expect_refused_at_every_place(batch);
}

TEST_F(TooLargeForTheEngine, SeveralRunsAreRefusedEachByItself) {
    const TempDir dir;
    const auto store = open_sqlite_store(dir / "cairn.db").value();
    std::vector<RunBatch> batches;
    for (int run = 0; run < 20; ++run) {
        batches.push_back(
            make_batch(make_snapshot(fmt::format("run {}", run), 1, text_of(run % 2 == 0 ? 10 : kTooMany))));
    }
    const std::vector<Status> answers = store->commit(batches, soon()).value();
    for (int run = 0; run < 20; ++run) {
        EXPECT_EQ(answers[static_cast<std::size_t>(run)].has_value(), run % 2 == 0) << run;
        EXPECT_EQ(store->head(fmt::format("run {}", run), soon()).value().has_value(), run % 2 == 0) << run;
    }
    expect_sound(*store, "half of the runs were refused");
}

// ---- damage ----

bool is_damage(ErrorCode code) {
    return code == ErrorCode::kCorrupt || code == ErrorCode::kIncompatible;
}

template <class T>
void expect_damage_or_answer(const Result<T>& result, const std::string& where) {
    const ErrorCode code = result ? ErrorCode::kCorrupt : result.error().code;
    EXPECT_TRUE(is_damage(code)) << where << ": " << result.error().to_string();
}

// Frames are not compared here: they have their own checksum, which is verified when they are decoded.
TEST(SqliteDamage, AnyDamagedByteGivesAnErrorOrAnAnswerAndNeverACrash) {
    const TempDir dir;
    {
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        for (std::int64_t version = 1; version <= 3; ++version) {
            ASSERT_TRUE(commit_all(*store, make_two(version), soon()).has_value());
        }
    }
    std::string sound;
    {
        std::ifstream file(dir / "cairn.db", std::ios::binary);
        sound.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    std::mt19937 random(11);
    for (int round = 0; round < 600; ++round) {
        std::string damaged = sound;
        const std::size_t position = random() % (round % 2 == 0 ? damaged.size() : 4096);
        const auto flip = static_cast<char>(1 + random() % 255);
        damaged[position] = static_cast<char>(damaged[position] ^ flip);
        const std::string where = fmt::format("byte {} flipped by {}", position, static_cast<int>(flip));
        std::ofstream(dir / "damaged.db", std::ios::binary | std::ios::trunc) << damaged;

        const auto store = open_sqlite_store(dir / "damaged.db");
        if (!store) {
            EXPECT_TRUE(is_damage(store.error().code) || store.error().code == ErrorCode::kReadOnly)
                << where << ": " << store.error().to_string();
            continue;
        }
        expect_damage_or_answer((*store)->head("a", soon()), where);
        expect_damage_or_answer((*store)->get("a", std::nullopt, soon()), where);
        expect_damage_or_answer((*store)->get("b", "b-1", soon()), where);
        expect_damage_or_answer((*store)->history({.run_id = "b"}, soon()), where);
        expect_damage_or_answer((*store)->runs({}, soon()), where);
        expect_damage_or_answer((*store)->threads({}, soon()), where);
        expect_damage_or_answer((*store)->recovery_log("a", 10, soon()), where);
        expect_damage_or_answer((*store)->stats(soon()), where);
        expect_damage_or_answer((*store)->check(soon()), where);
    }
}

TEST(SqliteDamage, ATruncatedFileIsCorrupt) {
    const TempDir dir;
    {
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        for (std::int64_t version = 1; version <= 20; ++version) {
            ASSERT_TRUE(commit_all(*store, make_two(version), soon()).has_value());
        }
    }
    fs::resize_file(dir / "cairn.db", fs::file_size(dir / "cairn.db") - 16 * 8192);
    const auto store = open_sqlite_store(dir / "cairn.db");
    ASSERT_FALSE(store.has_value());
    EXPECT_EQ(store.error().code, ErrorCode::kCorrupt) << store.error().to_string();
}

TEST(SqliteDamage, EveryFindingNamesTheRunAndWhatIsWrongWithIt) {
    struct Case {
        std::string sql;
        std::string problem;
    };
    for (const Case& damage : std::vector<Case>{
             {"DELETE FROM snapshots WHERE sequence = (SELECT head_sequence FROM runs WHERE run_id = 'a')",
              "the snapshot of the run's head is missing"},
             {"UPDATE runs SET head_version = 9 WHERE run_id = 'a'", "the run's head and its snapshot differ"},
             {"UPDATE runs SET head_checksum = zeroblob(16) WHERE run_id = 'a'", "head and its snapshot differ"},
             {"UPDATE runs SET snapshots = 7 WHERE run_id = 'a'", "count of snapshots is wrong"},
             {"UPDATE snapshots SET version = 99 WHERE snapshot_id = 'a-1'", "newer than the run's head"},
             {"UPDATE snapshots SET parent_steps = 5 WHERE snapshot_id = 'a-1'", "parent version is impossible"},
             {"UPDATE snapshots SET checksum = x'00' WHERE snapshot_id = 'a-1'", "checksum is not one"},
             {"UPDATE snapshots SET run_key = 77 WHERE snapshot_id = 'a-1'", "the snapshot's run is missing"},
             {"UPDATE snapshots SET sequence = 77 WHERE snapshot_id = 'a-1'", "later than one of a higher version"}}) {
        const TempDir dir;
        const auto store = open_sqlite_store(dir / "cairn.db").value();
        for (std::int64_t version = 1; version <= 2; ++version) {
            ASSERT_TRUE(commit_all(*store, make_two(version), soon()).has_value());
        }
        sqlite3* database = nullptr;
        sqlite3_open((dir / "cairn.db").c_str(), &database);
        ASSERT_EQ(sqlite3_exec(database, damage.sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
            << sqlite3_errmsg(database);
        sqlite3_close(database);
        bool found = false;
        const CheckReport report = store->check(soon()).value();
        for (const auto& finding : report.findings) {
            found = found || finding.problem.find(damage.problem) != std::string::npos;
        }
        EXPECT_TRUE(found) << damage.sql;
    }
}

}  // namespace
}  // namespace cairn::test
