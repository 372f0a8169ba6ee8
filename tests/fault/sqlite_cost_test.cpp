// Goal: the cost of a save and of a head in the engine stays as designed: no call compiles SQL text, and there are few
// statements and few pages. The cost is counted, not timed.
// Method: an extension of the engine is loaded into every connection that the store opens, and counts there.

#include "store/sqlite/sqlite_store.h"
#include "support/make.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace cairn::test {
namespace {

struct Counts {
    int compiled = 0;  // calls of the authorizer; compiling a statement makes some
    int executed = 0;  // statements begun
    int steps = 0;     // instructions of statements that have ended
};
Counts counts;

int count_compiled(void* /*unused*/, int /*action*/, const char* /*a*/, const char* /*b*/, const char* /*c*/,
                   const char* /*d*/) {
    ++counts.compiled;
    return SQLITE_OK;
}

int count_executed(unsigned event, void* /*unused*/, void* statement, void* /*text*/) {
    if (event == SQLITE_TRACE_STMT) {
        ++counts.executed;
    } else {
        counts.steps += sqlite3_stmt_status(static_cast<sqlite3_stmt*>(statement), SQLITE_STMTSTATUS_VM_STEP, 1);
    }
    return 0;
}

int watch(sqlite3* database, const char** /*message*/, const sqlite3_api_routines* /*api*/) {
    sqlite3_set_authorizer(database, count_compiled, nullptr);
    sqlite3_trace_v2(database, SQLITE_TRACE_STMT | SQLITE_TRACE_PROFILE, count_executed, nullptr);
    return SQLITE_OK;
}

class SqliteCost : public testing::Test {
protected:
    void SetUp() override {
        sqlite3_auto_extension(reinterpret_cast<void (*)()>(watch));
        store_ = open_sqlite_store(dir_ / "cairn.db").value();
        for (std::int64_t version = 1; version <= 3; ++version) commit(version);
        read_all();
        counts = {};
    }
    void TearDown() override { sqlite3_reset_auto_extension(); }

    void commit(std::int64_t version) {
        ASSERT_TRUE(commit_run(*store_, make_batch(make_snapshot("run", version)), soon()).has_value());
    }
    void read_all() {
        ASSERT_TRUE(store_->head("run", soon()).value().has_value());
        ASSERT_TRUE(store_->get("run", std::nullopt, soon()).value().has_value());
        ASSERT_TRUE(store_->get("run", "run-1", soon()).value().has_value());
        ASSERT_FALSE(store_->history({.run_id = "run"}, soon()).value().empty());
        ASSERT_FALSE(store_->runs({}, soon()).value().items.empty());
        ASSERT_FALSE(store_->threads({}, soon()).value().items.empty());
        ASSERT_TRUE(store_->recovery_log("run", 1, soon()).has_value());
    }

    TempDir dir_;
    std::shared_ptr<Store> store_;
};

TEST_F(SqliteCost, NothingIsCompiledAgain) {
    for (std::int64_t version = 4; version < 24; ++version) {
        commit(version);
        read_all();
    }
    EXPECT_GT(counts.executed, 0) << "the watch is not in place";
    EXPECT_EQ(counts.compiled, 0);
}

TEST_F(SqliteCost, ASaveIsFiveStatements) {
    commit(4);
    EXPECT_EQ(counts.executed, 5);  // BEGIN, find the run, insert the snapshot, move the head, COMMIT
}

TEST_F(SqliteCost, ALeaseCostsOnlyTheSaveThatNamesItAndThatOneStatement) {
    const Lease lease{.owner = "ann", .epoch = 1};
    ASSERT_TRUE(commit_run(*store_, {.run_id = "run", .lease = LeaseWrite{.lease = lease}}, soon()).has_value());
    EXPECT_EQ(counts.executed, 4);  // BEGIN, find the lease, write it, COMMIT
    counts = {};
    commit(4);
    EXPECT_EQ(counts.executed, 5);
    counts = {};
    RunBatch batch = make_batch(make_snapshot("run", 5));
    batch.writes.front().lease = lease;
    ASSERT_TRUE(commit_run(*store_, batch, soon()).has_value());
    EXPECT_EQ(counts.executed, 6);
}

TEST_F(SqliteCost, AHeadIsOneStatementAndNoneUntilTheNextCommit) {
    for (std::int64_t version = 4; version <= 6; ++version) {
        commit(version);
        for (const int statements : {1, 0, 0}) {
            counts = {};
            EXPECT_EQ(store_->head("run", soon()).value()->version, version);
            EXPECT_EQ(counts.executed, statements);
        }
    }
}

TEST_F(SqliteCost, OneRunIsLookedUpAmongManyAsFastAsAmongFew) {
    using enum RunQuery::Order;
    const auto steps_of = [&](const RunQuery& query) {
        counts = {};
        EXPECT_EQ(store_->runs(query, soon()).value().items.size(), 1U);
        EXPECT_EQ(counts.executed, 1);
        return counts.steps;
    };
    const RunQuery newest{.run_id = "run", .thread_id = "thread", .user_id = "user"};
    const RunQuery by_id{.run_id = "run", .order = kById};
    const int of_newest = steps_of(newest);
    const int of_by_id = steps_of(by_id);
    EXPECT_GT(of_newest, 0) << "the watch is not in place";

    std::vector<RunBatch> others;
    for (int i = 0; i < 500; ++i) {
        others.push_back(make_batch(make_snapshot(fmt::format("{} {}", i % 2 == 0 ? "before" : "slower", i), 1)));
    }
    for (const Status& status : store_->commit(others, soon()).value()) ASSERT_TRUE(status.has_value());
    EXPECT_EQ(steps_of(newest), of_newest);
    EXPECT_EQ(steps_of(by_id), of_by_id);
}

// A save writes one page each of the runs, the snapshots and their two indexes. The first page of the database is
// written once per log. The log holds each page with a header of 24 bytes.
TEST_F(SqliteCost, ASmallSaveWritesFourPages) {
    ASSERT_TRUE(store_->stats(soon()).has_value());  // empties the log
    const auto log_bytes = [&] { return std::filesystem::file_size(dir_ / "cairn.db-wal"); };
    ASSERT_EQ(log_bytes(), 0U);
    commit(4);
    EXPECT_EQ(log_bytes(), 32U + 5 * (24 + 8192));
    commit(5);
    EXPECT_EQ(log_bytes(), 32U + 9 * (24 + 8192));
}

}  // namespace
}  // namespace cairn::test
