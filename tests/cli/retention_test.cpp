// Goal: `prune` and `delete` first say what they will do, delete what was asked for and nothing else, and can be
// stopped.
// Method: runs the built program on stores that the library has filled. Holds the database's write lock where a command
// must be in the middle of its work.

#include "cli/filled_store.h"
#include "cli/program_fixture.h"
#include "support/write_lock.h"

#include <csignal>
#include <filesystem>
#include <future>
#include <map>
#include <thread>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<std::string> kReport{"dry_run",           "runs_examined",        "runs_deleted",
                                       "snapshots_deleted", "snapshots_rewritten",  "frame_bytes_deleted",
                                       "frame_bytes_added", "store_bytes_returned", "was_cancelled"};

class CairnRetention : public Cairn {
protected:
    void fill() {
        FilledStore store(folder_.sqlite_url());
        store.add_run("r1", 30, "t1", "u1");
        store.add_run("r2", 10, "t1", "u1");
        store.add_run("r3", 5, "t2", "u2");
    }

    Json report(const std::vector<std::string>& arguments, const Environment& environment = {}) {
        const Json object = parsed(run(arguments + std::vector<std::string>{"--json"}, {}, environment));
        EXPECT_EQ(keys_of(object), kReport);
        return object;
    }

    std::map<std::string, int> snapshots() {
        std::map<std::string, int> found;
        for (const Json& info : parsed(run({"runs", "--json"}))) found[info["run_id"]] = info["snapshots"];
        return found;
    }

    void expect_sound() {
        const Json checked = parsed(run({"check", "--deep", "--json"}));
        EXPECT_EQ(checked["ok"], true) << checked;
    }
};

using Counts = std::map<std::string, int>;

TEST_F(CairnRetention, PruneTellsFirstAndDeletesWhenConfirmed) {
    fill();
    const Json told = report({"prune", "--keep-last", "4"});
    EXPECT_EQ(told["dry_run"], true);
    EXPECT_EQ(told["snapshots_deleted"], 26 + 6 + 1);
    EXPECT_EQ(snapshots(), (Counts{{"r1", 30}, {"r2", 10}, {"r3", 5}}));
    EXPECT_THAT(run({"prune", "--keep-last", "4"}).output,
                AllOf(HasSubstr("WOULD DELETE FROM  sqlite:cairn.db\n"), HasSubstr("snapshots          33\n"),
                      HasSubstr("Nothing was changed: the same command with --yes does it.\n")));

    const std::string state = run({"load", "--run", "r1", "--snapshot", "28"}).output;
    const Json done = report({"prune", "--keep-last", "4", "--yes"});
    EXPECT_EQ(done["dry_run"], false);
    EXPECT_EQ(done["was_cancelled"], false);
    for (const char* figure : {"runs_examined", "snapshots_deleted", "snapshots_rewritten", "frame_bytes_deleted"}) {
        EXPECT_EQ(done[figure], told[figure]) << figure;
    }
    EXPECT_EQ(snapshots(), (Counts{{"r1", 4}, {"r2", 4}, {"r3", 4}}));
    EXPECT_EQ(run({"load", "--run", "r1", "--snapshot", "28"}).output, state);
    expect_sound();
    EXPECT_THAT(run({"prune", "--keep-last", "4", "--yes"}).output,
                AllOf(HasSubstr("DELETED FROM "), HasSubstr("snapshots            0\n"), Not(HasSubstr("--yes"))));
}

TEST_F(CairnRetention, PruneStaysWithinTheRunThreadOrUserThatIsNamed) {
    fill();
    EXPECT_EQ(report({"prune", "--keep-last", "1", "--run", "r2", "--yes"})["snapshots_deleted"], 9);
    EXPECT_EQ(snapshots(), (Counts{{"r1", 30}, {"r2", 1}, {"r3", 5}}));
    EXPECT_EQ(report({"prune", "--keep-last", "1", "--user", "u2", "--yes"})["snapshots_deleted"], 4);
    EXPECT_EQ(report({"prune", "--keep-last", "8", "--thread", "t1", "--yes"})["snapshots_deleted"], 22);
    EXPECT_EQ(snapshots(), (Counts{{"r1", 8}, {"r2", 1}, {"r3", 1}}));
    expect_error(run({"prune", "--keep-last", "1", "--run", "r9"}), ErrorCode::kNotFound, "\"r9\"");
    expect_error(run({"prune", "--keep-last", "1", "--run", "r1", "--user", "u2"}), ErrorCode::kNotFound, "owner");
    expect_sound();
}

TEST_F(CairnRetention, PruneKeepsRecoveryPointsUnlessTheyAreNamed) {
    saved(R"({"a":1})", {"--recovery-point"});
    saved(R"({"a":2})");
    saved(R"({"a":3})");
    EXPECT_EQ(report({"prune", "--keep-last", "1", "--yes"})["snapshots_deleted"], 1);
    EXPECT_EQ(run({"load", "--run", "r1", "--snapshot", "1"}).output, "{\"a\":1}\n");
    EXPECT_EQ(report({"prune", "--keep-last", "1", "--include-recovery-points", "--yes"})["snapshots_deleted"], 1);
    EXPECT_EQ(snapshots(), (Counts{{"r1", 1}}));
}

TEST_F(CairnRetention, PruneByAgeAndByExpiry) {
    saved(R"({"a":1})", {"--expires-at", "2020-01-01"});
    saved(R"({"a":2})", {"--expires-at", "9999-01-01"});
    saved(R"({"a":3})");
    EXPECT_EQ(report({"prune", "--expired"})["snapshots_deleted"], 1);
    for (const char* age : {"1d", "12h", "90m", "1000000d"}) {
        EXPECT_EQ(report({"prune", "--older-than", age})["snapshots_deleted"], 0) << age;
    }
    EXPECT_EQ(report({"prune", "--older-than", "0m"})["snapshots_deleted"], 2);
    for (const char* age : {"30", "d", "-1d", "1.5d", "1w", "1000001d", "99999999999999999999d", " 1d", "1 d", "1dd"}) {
        expect_error(run({"prune", "--older-than", age}), ErrorCode::kInvalidArgument,
                     std::string("--older-than: \"") + age + "\"");
    }
    expect_error(run({"prune", "--keep-last", "0"}), ErrorCode::kInvalidArgument, "keep_last");
}

TEST_F(CairnRetention, SettingsCountOnlyWithoutRulesOnTheCommandLine) {
    fill();
    const Environment settings{{"CAIRN_RETENTION_KEEP_LAST", "2"}, {"CAIRN_RETENTION_EXPIRED", "true"}};
    EXPECT_EQ(report({"prune"}, settings)["snapshots_deleted"], 28 + 8 + 3);
    EXPECT_EQ(report({"prune", "--run", "r3"}, settings)["snapshots_deleted"], 3);
    EXPECT_EQ(report({"prune", "--keep-last", "9"}, settings)["snapshots_deleted"], 21 + 1);
    EXPECT_EQ(report({"prune", "--expired"}, settings)["snapshots_deleted"], 0);
    EXPECT_EQ(report({"prune"}, {{"CAIRN_RETENTION_AGE_DAYS", "3"}})["dry_run"], true);
    const std::string rules = "--keep-last N, --older-than AGE or --expired, or set CAIRN_RETENTION_KEEP_LAST";
    expect_error(run({"prune"}), ErrorCode::kInvalidArgument, rules);
    expect_error(run({"prune", "--yes", "--include-recovery-points"}), ErrorCode::kInvalidArgument, rules);
}

TEST_F(CairnRetention, DeleteTellsFirstAndTakesWholeRuns) {
    fill();
    const Json told = report({"delete", "--thread", "t1"});
    EXPECT_EQ(told["dry_run"], true);
    EXPECT_EQ(told["runs_deleted"], 2);
    EXPECT_EQ(told["snapshots_deleted"], 40);
    EXPECT_EQ(snapshots().size(), 3U);
    EXPECT_EQ(report({"delete", "--run", "r2", "--yes"})["snapshots_deleted"], 10);
    EXPECT_EQ(report({"delete", "--user", "u2", "--yes"})["runs_deleted"], 1);
    EXPECT_EQ(snapshots(), (Counts{{"r1", 30}}));
    expect_sound();
    expect_error(run({"delete", "--run", "r2", "--yes"}), ErrorCode::kNotFound, "");
    expect_error(run({"delete", "--run", "r1", "--user", "u2", "--yes"}), ErrorCode::kNotFound, "");
    expect_error(run({"delete", "--yes"}), ErrorCode::kInvalidArgument, "--run, --thread or --user");
    EXPECT_EQ(snapshots(), (Counts{{"r1", 30}}));
}

TEST_F(CairnRetention, NeitherMakesAStore) {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"prune", "--expired"}, {"delete", "--run", "r1"}}) {
        expect_error(run(arguments), ErrorCode::kNotFound, "cairn.db");
        expect_error(run(arguments + std::vector<std::string>{"--yes"}), ErrorCode::kNotFound, "cairn.db");
    }
    EXPECT_FALSE(std::filesystem::exists(folder_ / "cairn.db"));
}

// The script interrupts the program once it has replaced the shell and catches the signal (SIGINT is bit 2 of the mask
// in /proc). The lock keeps the program from finishing before.
TEST_F(CairnRetention, CtrlCStopsBetweenTransactionsAndSaysSo) {
    FilledStore(folder_.sqlite_url()).add_run("r1", 250);
    const std::string script =
        "\"$CAIRN\" prune --keep-last 1 --yes --json > report & pid=$!\n"
        "until grep -q cairn /proc/$pid/comm && grep -q '^SigCgt:.*[2367abef]$' /proc/$pid/status; do :; done\n"
        "kill -INT $pid; touch interrupted; wait $pid";
    std::future<ProgramResult> interrupted;
    {
        const WriteLock lock(folder_ / "cairn.db");
        ASSERT_TRUE(lock.held());
        interrupted = std::async(std::launch::async, [&] { return run_shell(script); });
        while (!std::filesystem::exists(folder_ / "interrupted")) std::this_thread::yield();
    }
    EXPECT_EQ(interrupted.get().exit_code, 128 + SIGINT);
    const Json stopped = Json::parse(read("report"));
    EXPECT_EQ(stopped["was_cancelled"], true);
    EXPECT_LT(stopped["snapshots_deleted"], 249);
    EXPECT_EQ(snapshots()["r1"], 250 - stopped["snapshots_deleted"].get<int>());
    expect_sound();
    EXPECT_EQ(report({"prune", "--keep-last", "1", "--yes"})["was_cancelled"], false);
    EXPECT_EQ(snapshots()["r1"], 1);
    expect_sound();
}

}  // namespace
}  // namespace cairn::test
