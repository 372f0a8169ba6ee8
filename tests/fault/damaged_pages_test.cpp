// Goal: a page of the file that the disk has lost hides nothing but what was in it: every run is listed, checked and
// exported as far as it can be read, and saves of other runs go on.
// Method: a store of many runs whose records fill several pages; one page after the other is lost, of the table or of
// an index, and the readers are asked for all runs.

#include "store/sqlite/sqlite_store.h"
#include "support/damaged_page.h"
#include "support/make.h"
#include "support/temp_dir.h"
#include "transfer/exporter.h"

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace cairn::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr int kRuns = 1200;
constexpr int kVictim = 600;  // in the middle of the table and of the indexes

std::string run_id_of(int run) {
    return fmt::format("run-{:04}", run);
}

std::string thread_of(int run) {
    return fmt::format("thread-{:04}", run / 2);
}

// No text of the run's id, so that a page with such a text has records of runs.
std::string snapshot_id_of(int run, int version = 1) {
    return fmt::format("00000000-0000-7000-8000-{:04}{:08}", run, version);
}

Snapshot snapshot_of(int run, int version = 1) {
    Snapshot snapshot = make_snapshot(run_id_of(run), version, fmt::format(R"({{"n":{}}})", run));
    snapshot.info.thread_id = thread_of(run);
    snapshot.info.snapshot_id = snapshot_id_of(run, version);
    return snapshot;
}

class DamagedPages : public testing::Test {
protected:
    void SetUp() override {
        const auto store = open();
        std::vector<RunBatch> batches;
        for (int run = 0; run < kRuns; ++run) batches.push_back(make_batch(snapshot_of(run)));
        ASSERT_TRUE(commit_all(*store, batches, soon()).has_value());
        ASSERT_TRUE(store->close().has_value());
    }

    std::shared_ptr<Store> open() const { return open_sqlite_store(path_).value(); }

    /// All that a list has, by id; each only once.
    static std::map<std::string, RunInfo> listed(Store& store, RunQuery query) {
        std::map<std::string, RunInfo> found;
        do {
            const auto page = store.runs(query, soon());
            EXPECT_TRUE(page.has_value()) << page.error().to_string();
            if (!page) return found;
            if (query.order == RunQuery::Order::kNewestFirst) {
                EXPECT_TRUE(std::ranges::is_sorted(page->items, std::ranges::greater(), &RunInfo::created_at));
            }
            for (const RunInfo& run : page->items) EXPECT_TRUE(found.emplace(run.run_id, run).second) << run.run_id;
            query.cursor = page->next_cursor;
        } while (!query.cursor.empty());
        return found;
    }

    /// Those of them that are damaged.
    static std::set<std::string> damaged(const std::map<std::string, RunInfo>& runs) {
        std::set<std::string> ids;
        for (const auto& [run_id, run] : runs) {
            if (!run.damage.empty()) ids.insert(run_id);
        }
        return ids;
    }

    /// Every run, in both orders and with every filter; the same ones are damaged in each list. Returns those.
    std::set<std::string> expect_all_are_listed(Store& store) {
        const auto by_id = listed(store, {.order = RunQuery::Order::kById, .limit = 7});
        EXPECT_THAT(by_id, SizeIs(kRuns));
        const auto newest_first = listed(store, {.limit = 250});
        EXPECT_THAT(newest_first, SizeIs(kRuns));
        std::set<std::string> lost = damaged(by_id);
        EXPECT_EQ(damaged(newest_first), lost);
        const auto of_user = listed(store, {.user_id = "user", .order = RunQuery::Order::kById, .limit = 500});
        EXPECT_EQ(damaged(of_user), lost);
        EXPECT_THAT(of_user, SizeIs(kRuns));
        EXPECT_THAT(listed(store, {.user_id = "nobody"}), IsEmpty());
        for (const int run : {0, kVictim, kRuns - 1}) {
            EXPECT_THAT(listed(store, {.run_id = run_id_of(run)}), SizeIs(1));
            EXPECT_THAT(listed(store, {.run_id = run_id_of(run), .user_id = "nobody"}), IsEmpty());
            EXPECT_THAT(listed(store, {.thread_id = thread_of(run), .user_id = "user"}), SizeIs(2));
        }
        for (const std::string& run_id : lost) {
            EXPECT_THAT(by_id.at(run_id).damage, HasSubstr("a damaged part of the file"));
            EXPECT_EQ(newest_first.at(run_id).user_id, "user");
        }
        return lost;
    }

    void expect_all_threads_are_listed(Store& store) {
        std::set<std::string> threads;
        std::uint64_t runs = 0;
        ThreadQuery query{.limit = 7};
        do {
            const auto page = store.threads(query, soon()).value();
            for (const ThreadInfo& thread : page.items) {
                threads.insert(thread.thread_id);
                runs += thread.runs;
            }
            query.cursor = page.next_cursor;
        } while (!query.cursor.empty());
        EXPECT_THAT(threads, SizeIs(kRuns / 2));
        EXPECT_EQ(runs, kRuns);
    }

    TempDir dir_;
    std::filesystem::path path_ = dir_ / "cairn.db";
};

TEST_F(DamagedPages, RunsOfALostPageAreListedAsDamagedAndHideNoOther) {
    ASSERT_TRUE(lose_page(path_, PageKind::kTable, run_id_of(kVictim)));
    const auto store = open();
    const std::set<std::string> lost = expect_all_are_listed(*store);
    EXPECT_THAT(lost, testing::Contains(run_id_of(kVictim)));
    EXPECT_LT(lost.size(), kRuns / 3U);
    expect_all_threads_are_listed(*store);

    for (const CheckReport& report : {store->check(soon()).value(), check_deep(*store, soon()).value()}) {
        EXPECT_EQ(report.runs, static_cast<std::uint64_t>(kRuns));
        std::set<std::string> found;
        for (const auto& finding : report.findings) found.insert(finding.run_id);
        EXPECT_EQ(found.erase(""), 1U) << "the page itself";
        EXPECT_EQ(found, lost);
    }

    const auto runs = list_runs_to_export(*store).value();
    EXPECT_THAT(runs, SizeIs(kRuns));
    const auto exported = export_runs(*store, runs, [](const std::string&) { return Status{}; }).value();
    EXPECT_EQ(exported.snapshots, kRuns - lost.size());
    EXPECT_EQ(exported.damaged, lost.size());

    const auto pruned = prune(*store, {.keep_last = 1});
    ASSERT_FALSE(pruned.has_value());
    EXPECT_EQ(pruned.error().code, ErrorCode::kCorrupt);
}

TEST_F(DamagedPages, RunsWhoseHeadsAreInALostPageAreListedAsDamagedAndHideNoOther) {
    ASSERT_TRUE(lose_page(path_, PageKind::kTable, fmt::format(R"({{"n":{}}})", kVictim)));
    const auto store = open();
    const std::set<std::string> lost = expect_all_are_listed(*store);
    EXPECT_THAT(lost, testing::Contains(run_id_of(kVictim)));
    EXPECT_LT(lost.size(), kRuns / 3U);
    const auto runs = list_runs_to_export(*store).value();
    const auto exported = export_runs(*store, runs, [](const std::string&) { return Status{}; }).value();
    EXPECT_EQ(exported.snapshots, kRuns - lost.size());
}

TEST_F(DamagedPages, ALostPageOfAnIndexHidesNoRun) {
    for (const std::string& text : {run_id_of(kVictim), thread_of(kVictim)}) {
        ASSERT_TRUE(lose_page(path_, PageKind::kIndex, text));
        const auto store = open();
        EXPECT_THAT(expect_all_are_listed(*store), IsEmpty()) << "their records are whole";
        expect_all_threads_are_listed(*store);
        EXPECT_THAT(store->check(soon()).value().findings, Not(IsEmpty()));
        ASSERT_TRUE(store->close().has_value());
    }
}

// Two pages of each: what lies between is found from neither end of the table, but by the ids.
TEST_F(DamagedPages, SeveralLostPagesHideNoRun) {
    for (const int run : {200, 1000}) ASSERT_TRUE(lose_page(path_, PageKind::kTable, run_id_of(run)));
    ASSERT_TRUE(lose_page(path_, PageKind::kIndex, run_id_of(kVictim)));
    const auto store = open();
    const std::set<std::string> lost = expect_all_are_listed(*store);
    EXPECT_THAT(lost, Not(testing::Contains(run_id_of(kVictim))));
    EXPECT_LT(lost.size(), kRuns / 2U);
}

TEST_F(DamagedPages, ADamagedSnapshotOfAnotherRunIsStillNamed) {
    execute(path_, fmt::format("UPDATE snapshots SET state_bytes = -1 WHERE sequence = {}", kRuns));
    ASSERT_TRUE(lose_page(path_, PageKind::kTable, run_id_of(kVictim)));
    const CheckReport report = open()->check(soon()).value();
    EXPECT_TRUE(std::ranges::any_of(report.findings, [](const CheckReport::Finding& finding) {
        return finding.run_id == run_id_of(kRuns - 1) && finding.problem.contains("a count below 0");
    }));
}

TEST_F(DamagedPages, ACommitRefusesOnlyTheRunsOfALostPage) {
    ASSERT_TRUE(lose_page(path_, PageKind::kTable, run_id_of(kVictim)));
    const auto store = open();
    std::vector<RunBatch> batches;
    for (const int run : {0, kVictim, kRuns - 1}) batches.push_back(make_batch(snapshot_of(run, 2)));
    const auto answers = store->commit(batches, soon());
    ASSERT_TRUE(answers.has_value()) << answers.error().to_string();
    EXPECT_TRUE((*answers)[0].has_value()) << (*answers)[0].error().to_string();
    ASSERT_FALSE((*answers)[1].has_value());
    EXPECT_EQ((*answers)[1].error().code, ErrorCode::kCorrupt);
    EXPECT_TRUE((*answers)[2].has_value()) << (*answers)[2].error().to_string();
    EXPECT_EQ(store->head(run_id_of(0), soon()).value()->version, 2);
    EXPECT_EQ(store->head(run_id_of(kRuns - 1), soon()).value()->version, 2);
}

}  // namespace
}  // namespace cairn::test
