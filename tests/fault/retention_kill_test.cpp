// Goal: a prune that is killed at any point leaves a store in which everything that remains loads byte for byte. The
// next prune finishes the job. A second process that saves meanwhile loses nothing.
// Method: on SQLite, a forked child prunes in short transactions. SIGKILL ends it before every one of its commits, and,
// by a timer of the kernel, at random times. Then the file is opened again and everything is loaded.

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <cairn/faulty_store.h>
#include "support/chained_run.h"
#include "support/child_process.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>

namespace cairn::test {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

constexpr std::int64_t kLength = 40;

// The rules look at each snapshot by itself, so the survivors do not depend on where an earlier prune was cut short.
RetentionPolicy policy() {
    return {.age_max = seconds(22), .expired = true, .run_id = "run"};
}

RetentionOptions options(std::size_t snapshots_per_commit) {
    RetentionOptions made{.snapshots_per_commit = snapshots_per_commit};
    made.runtime = make_runtime();
    made.runtime.clock = std::make_shared<StepClock>(microseconds(0), kEpoch + seconds(kLength));
    return made;
}

bool stays(std::int64_t version) {
    return version >= kLength - 22 && version % 4 != 1;
}

// Fills a run with a line of snapshots. Every seventh is a fork, every fifteenth is self-contained, and every fourth
// has expired.
void fill(const std::string& url) {
    const auto store = open_store(url).value();
    ChainedRun run(*store, "run");
    for (std::int64_t version = 1; version <= kLength; ++version) {
        const std::int64_t base = version % 15 == 1 ? 0 : version % 7 == 0 ? version - 4 : version - 1;
        run.append(base, [&](SnapshotInfo& info) {
            if (version % 4 == 1) info.expires_at = kEpoch;
        });
    }
    ASSERT_TRUE(store->close());
}

// Makes the kernel kill this process after so much time, whatever it is doing then.
void kill_in(microseconds time) {
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGKILL;
    timer_t timer = nullptr;
    itimerspec when{};
    when.it_value.tv_sec = time.count() / 1'000'000;
    when.it_value.tv_nsec = time.count() % 1'000'000 * 1000 + 1;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &when, nullptr) != 0) {
        std::_Exit(98);
    }
}

// Prunes in a child. Returns its exit code, or minus the signal that ended it. `arm(store)` may arrange for that
// signal.
template <class Arm>
int prune_in_child(const std::string& url, Arm arm) {
    ChildProcess child([&](const Channel&) {
        FaultyStore store(open_store(url, {.create = false}).value());
        arm(store);
        return prune(store, policy(), options(3)) ? 0 : 1;
    });
    return child.wait();
}

class RetentionKill : public testing::Test {
protected:
    void SetUp() override { fill(dir.sqlite_url("filled.db")); }

    void start_again() {
        for (const char* name : {"cairn.db", "cairn.db-wal", "cairn.db-shm"}) std::filesystem::remove(dir / name);
        std::filesystem::copy_file(dir / "filled.db", dir / "cairn.db");
    }

    // Checks what is left, and finishes the prune that was cut short. Returns the number of snapshots before that.
    std::size_t verify_and_finish() {
        const auto store = open_store(url, {.create = false}).value();
        expect_intact(*store, "run");
        const Versions left = versions_in(*store, "run");
        const auto finished = prune(*store, policy(), options(100));
        EXPECT_TRUE(finished) << finished.error().to_string();
        expect_intact(*store, "run");
        EXPECT_EQ(versions_in(*store, "run"), expected);
        EXPECT_TRUE(std::ranges::includes(left, expected));
        EXPECT_TRUE(store->close());
        return left.size();
    }

    TempDir dir;
    std::string url = dir.sqlite_url("cairn.db");
    Versions expected = [] {
        Versions versions;
        for (std::int64_t version = 1; version <= kLength; ++version) {
            if (stays(version)) versions.push_back(version);
        }
        return versions;
    }();
};

TEST_F(RetentionKill, BeforeEveryCommitNothingIsLost) {
    std::uint64_t nth = 0;
    for (int ended = -SIGKILL; ended == -SIGKILL;) {
        SCOPED_TRACE(fmt::format("killed before commit {}", ++nth));
        start_again();
        ended = prune_in_child(url, [nth](FaultyStore& store) {
            store.before_commit([nth, &store](std::span<const RunBatch>) {
                if (store.calls(StoreCall::kCommit) + 1 == nth) ::raise(SIGKILL);
            });
        });
        EXPECT_TRUE(ended == -SIGKILL || ended == 0) << ended;
        verify_and_finish();
        ASSERT_FALSE(HasFailure());
        ASSERT_LT(nth, 100U);
    }
    EXPECT_GT(nth, 8U) << "there were fewer commits than the test means to have";
}

TEST_F(RetentionKill, AtAnyTimeNothingIsLost) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    std::mt19937_64 random(first_seed);
    start_again();
    const auto started = std::chrono::steady_clock::now();
    ASSERT_EQ(prune_in_child(url, [](FaultyStore&) {}), 0);
    const auto whole = std::chrono::duration_cast<microseconds>(std::chrono::steady_clock::now() - started).count();
    ASSERT_EQ(verify_and_finish(), expected.size());

    int cut_in_the_middle = 0;
    for (int round = 0; round < 110; ++round) {
        start_again();
        const microseconds time(random() % static_cast<std::uint64_t>(whole));
        const int ended = prune_in_child(url, [time](FaultyStore&) { kill_in(time); });
        EXPECT_TRUE(ended == -SIGKILL || ended == 0) << ended;
        const std::size_t left = verify_and_finish();
        cut_in_the_middle += left < kLength && left > expected.size() ? 1 : 0;
        ASSERT_FALSE(HasFailure());
    }
    EXPECT_GT(cut_in_the_middle, 0) << "no round was killed at work";
}

// ---- with a second writer ----

constexpr std::int64_t kSavesPerRound = 8;
constexpr std::size_t kKeep = 5;

// Each time it is told to, saves some states of both runs and then reports the versions of the heads.
int save_rounds(const std::string& url, const Channel& parent) {
    const auto store = open_store(url).value();
    OptimizedStatePersistence service(store);
    std::int64_t version = 0;
    parent.say(version);
    while (parent.hear()) {
        for (std::int64_t i = 0; i < kSavesPerRound; ++i) {
            ++version;
            for (const std::string run : {"run", "other"}) {
                const auto receipt = service.save_agent_state(make_request(run, ChainedRun::text_of(run, version)));
                if (!receipt || receipt->version != version) return 1;
            }
        }
        parent.say(version);
    }
    return 0;
}

int prune_newest(const std::string& url, std::optional<microseconds> time_to_live) {
    RetentionOptions few{.snapshots_per_commit = 2};
    if (time_to_live) kill_in(*time_to_live);
    const auto store = open_store(url, {.create = false}).value();
    return prune(*store, {.keep_last = kKeep, .run_id = "run"}, few) ? 0 : 1;
}

TEST(RetentionKillBesideAWriter, AWriterLosesNothingToPrunersThatAreKilled) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    std::mt19937_64 random(first_seed);
    const TempDir dir;
    const std::string url = dir.sqlite_url();
    ChildProcess writer([&](const Channel& parent) { return save_rounds(url, parent); });
    ASSERT_EQ(writer.channel().hear(), 0);
    std::int64_t saved = 0;
    for (int round = 0; round < 30; ++round) {
        writer.channel().say(round);
        std::optional<microseconds> time_to_live;
        if (round % 4 != 0) time_to_live = microseconds(random() % 20'000);
        ChildProcess pruner([&](const Channel&) { return prune_newest(url, time_to_live); });
        const int ended = pruner.wait();
        EXPECT_TRUE(ended == 0 || (time_to_live && ended == -SIGKILL)) << ended;
        const auto acknowledged = writer.channel().hear();
        ASSERT_TRUE(acknowledged) << "the writer has failed";
        saved = *acknowledged;
    }
    const auto store = open_store(url, {.create = false}).value();
    for (const std::string run : {"run", "other"}) {
        EXPECT_EQ(store->head(run, soon()).value().value().version, saved);
        expect_intact(*store, run);
    }
    EXPECT_EQ(versions_in(*store, "other").size(), static_cast<std::size_t>(saved)) << "nobody pruned this one";
    EXPECT_LT(versions_in(*store, "run").size(), static_cast<std::size_t>(saved)) << "nothing was pruned at all";

    ASSERT_TRUE(prune(*store, {.keep_last = kKeep, .run_id = "run"}));
    Versions newest;
    for (std::int64_t version = saved - 4; version <= saved; ++version) newest.push_back(version);
    EXPECT_EQ(versions_in(*store, "run"), newest);
    expect_intact(*store, "run");
}

}  // namespace
}  // namespace cairn::test
