// Goal: any number of threads, and of handles, may use a store at once. No commit is lost, none is applied twice, and
// every reader sees the store as it was at some moment.
// Method: threads race without pauses; all are ready before the first starts. Then the history is counted. The threads'
// observations are asserted after they have ended.

#include "conformance/store_conformance.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

constexpr int kThreads = 4;
constexpr int kCommitsEach = 40;

// Runs `work(thread number)` on several threads that start together, and waits for all.
template <class Work>
void race(int threads, Work work) {
    std::latch start(threads);
    std::vector<std::jthread> running;
    for (int thread = 0; thread < threads; ++thread) {
        running.emplace_back([&start, &work, thread] {
            start.arrive_and_wait();
            work(thread);
        });
    }
}

std::int64_t version_of(Store& store, const std::string& run_id) {
    const auto head = store.head(run_id, soon()).value();
    return head ? head->version : 0;
}

RunBatch next_of(Store& store, const std::string& run_id, const std::string& id) {
    Snapshot snapshot = make_snapshot(run_id, version_of(store, run_id) + 1);
    snapshot.info.snapshot_id = id;
    return make_batch(std::move(snapshot));
}

// Commits one more head for each run. Repeats it for the runs where another writer was faster. Returns the first error
// that is not a conflict.
Status append_to(Store& store, std::vector<std::string> run_ids, const std::string& id) {
    while (!run_ids.empty()) {
        std::vector<RunBatch> batches;
        for (const std::string& run_id : run_ids) batches.push_back(next_of(store, run_id, id));
        const auto answers = store.commit(batches, soon());
        if (!answers) return std::unexpected(answers.error());
        std::vector<std::string> refused;
        for (std::size_t i = 0; i < batches.size(); ++i) {
            const Status& answer = answers->at(i);
            if (!answer && answer.error().code != ErrorCode::kConflict) return answer;
            if (!answer) refused.push_back(batches[i].run_id);
        }
        run_ids = std::move(refused);
    }
    return {};
}

// Expects versions 1 to `count`, each with a different id.
void expect_whole_history(Store& store, const std::string& run_id, int count) {
    const auto history =
        store.history({.run_id = run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 100'000}, soon()).value();
    ASSERT_EQ(history.size(), static_cast<std::size_t>(count));
    std::vector<std::string> ids;
    for (std::size_t i = 0; i < history.size(); ++i) {
        EXPECT_EQ(history[i].version, static_cast<std::int64_t>(i + 1));
        ids.push_back(history[i].snapshot_id);
    }
    std::ranges::sort(ids);
    EXPECT_EQ(std::ranges::unique(ids).size(), 0U) << "an id was stored twice";
    EXPECT_EQ(version_of(store, run_id), count);
}

TEST_P(StoreConformance, WritersOfOneRunLoseNothing) {
    std::atomic<int> failures = 0;
    race(kThreads, [&](int thread) {
        for (int i = 0; i < kCommitsEach; ++i) {
            if (!append_to(store(), {"run"}, fmt::format("{}-{}", thread, i))) ++failures;
        }
    });
    EXPECT_EQ(failures, 0);
    expect_whole_history(store(), "run", kThreads * kCommitsEach);
}

TEST_P(StoreConformance, OfRacingCommitsThatExpectTheSameHeadExactlyOneWins) {
    constexpr int kRounds = 20;
    std::atomic<int> wins = 0;
    std::atomic<int> conflicts = 0;
    for (int round = 0; round < kRounds; ++round) {
        race(kThreads, [&](int thread) {
            Snapshot snapshot = make_snapshot("run", round + 1);
            snapshot.info.snapshot_id = fmt::format("{}-{}", thread, round);
            const Status status = commit(snapshot);
            if (status) ++wins;
            if (error_code(status) == ErrorCode::kConflict) ++conflicts;
        });
    }
    EXPECT_EQ(wins, kRounds);
    EXPECT_EQ(conflicts, kRounds * (kThreads - 1));
}

TEST_P(StoreConformance, OfRacingCommitsOfOneIdExactlyOneWins) {
    std::atomic<int> wins = 0;
    std::atomic<int> taken = 0;
    race(kThreads, [&](int /*thread*/) {
        const Status status = commit(make_snapshot("run", 1));
        if (status) ++wins;
        if (error_code(status) == ErrorCode::kAlreadyExists) ++taken;
    });
    EXPECT_EQ(wins, 1);
    EXPECT_EQ(taken, kThreads - 1);
}

TEST_P(StoreConformance, CommitsOverSeveralRunsNeitherBlockEachOtherNorLose) {
    std::atomic<int> failures = 0;
    race(kThreads, [&](int thread) {
        std::vector<std::string> run_ids{"a", "b", "c"};
        if (thread % 2 == 1) std::ranges::reverse(run_ids);
        for (int i = 0; i < kCommitsEach / 2; ++i) {
            if (!append_to(store(), run_ids, fmt::format("{}-{}", thread, i))) ++failures;
        }
    });
    EXPECT_EQ(failures, 0);
    for (const std::string run_id : {"a", "b", "c"}) {
        expect_whole_history(store(), run_id, kThreads * kCommitsEach / 2);
    }
}

// Reads the run's head and history. Returns, in words, what no reader may ever see, or nothing.
std::string read_consistently(Store& store, const std::string& run_id, std::int64_t& newest_seen) {
    const auto head = store.head(run_id, soon());
    if (!head) return head.error().to_string();
    if (!*head) return newest_seen == 0 ? "" : "a run vanished";
    if ((*head)->version < newest_seen) return fmt::format("the head went back from {}", newest_seen);
    newest_seen = (*head)->version;
    const auto snapshot = store.get(run_id, (*head)->snapshot_id, soon());
    if (!snapshot) return snapshot.error().to_string();
    if (!*snapshot) return fmt::format("the head's snapshot {} is not there", (*head)->snapshot_id);
    if ((*snapshot)->info.version != (*head)->version) return "the head's snapshot has another version";
    const auto history = store.history({.run_id = run_id, .limit = 5}, soon());
    if (!history) return history.error().to_string();
    if (history->empty() || history->front().version < newest_seen) return "the history ends before the head";
    return "";
}

TEST_P(StoreConformance, ReadersSeeConsistentHeadsWhileWritersWrite) {
    constexpr int kWriters = 2;
    constexpr int kReaders = 2;
    std::atomic<int> writing = kWriters;
    std::atomic<int> failures = 0;
    std::vector<std::string> problems(kReaders);
    race(kWriters + kReaders, [&](int thread) {
        if (thread < kWriters) {
            for (int i = 0; i < 2 * kCommitsEach; ++i) {
                if (!append_to(store(), {fmt::format("run {}", thread)}, fmt::format("id {}", i))) ++failures;
            }
            --writing;
            return;
        }
        std::string& problem = problems[static_cast<std::size_t>(thread - kWriters)];
        std::int64_t newest_seen[kWriters] = {};
        while (writing > 0 && problem.empty()) {
            for (int run = 0; run < kWriters && problem.empty(); ++run) {
                problem = read_consistently(store(), fmt::format("run {}", run), newest_seen[run]);
            }
        }
    });
    EXPECT_EQ(failures, 0);
    for (const std::string& problem : problems) EXPECT_EQ(problem, "");
    for (int run = 0; run < kWriters; ++run)
        expect_whole_history(store(), fmt::format("run {}", run), 2 * kCommitsEach);
}

TEST_P(DurableStoreConformance, WritersThroughSeveralHandlesLoseNothing) {
    const std::shared_ptr<Store> second = open_again();
    std::atomic<int> failures = 0;
    race(kThreads, [&](int thread) {
        Store& handle = thread % 2 == 0 ? store() : *second;
        for (int i = 0; i < kCommitsEach / 2; ++i) {
            if (!append_to(handle, {"run"}, fmt::format("{}-{}", thread, i))) ++failures;
        }
    });
    EXPECT_EQ(failures, 0);
    expect_whole_history(store(), "run", kThreads * kCommitsEach / 2);
}

TEST_P(StoreConformance, ClosingWaitsForCallsUnderWayAndRefusesTheRest) {
    std::atomic<int> applied = 0;
    std::atomic<int> surprises = 0;
    std::latch some_were_applied(1);
    race(kThreads, [&](int thread) {
        if (thread == 0) {
            some_were_applied.wait();
            if (!store().close()) ++surprises;
            return;
        }
        for (std::int64_t version = 1;; ++version) {
            const Status status = commit(make_snapshot(fmt::format("run {}", thread), version));
            if (status && ++applied == 5) some_were_applied.count_down();
            if (status) continue;
            if (status.error().code != ErrorCode::kClosed) ++surprises;
            return;
        }
    });
    EXPECT_EQ(surprises, 0);
    if (!is_durable()) return;
    EXPECT_EQ(open_again()->stats(soon()).value().snapshots, static_cast<std::uint64_t>(applied));
}

}  // namespace
}  // namespace cairn::test
