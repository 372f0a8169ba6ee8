// Goal: the exit code says how the program ended. That also holds for process 1 of a container, for which the kernel
// has no default actions. Signal settings and limits of a parent process neither kill the program nor make it report
// anything false.
// Method: runs the built program in a process namespace of its own (skipped where that is not allowed), and below
// shells that ignore SIGCHLD or limit the size of files.

#include "cli/filled_store.h"
#include "cli/program_fixture.h"
#include "support/write_lock.h"

#include <csignal>
#include <filesystem>
#include <future>
#include <thread>

namespace cairn::test {
namespace {

using ::testing::HasSubstr;

class CairnSignals : public Cairn {
protected:
    void write_pipeline(const std::string& script) {
        write("agent.sh", script);
        write("p.yaml", R"(name: demo
agents:
  work: {command: [sh, agent.sh], grace: 100ms}
steps:
  - {step: work}
)");
    }

    // Sets "$u" to the program that makes the namespace, and "$one" to the first process in it.
    static constexpr const char* kAsOne =
        "as_one() { unshare --user --map-root-user --pid --fork --kill-child --mount-proc \"$@\" & u=$! tries=0\n"
        "  until one=$(cat /proc/$u/task/$u/children) && [ -n \"$one\" ] || [ $tries -gt 3000 ]; do\n"
        "    tries=$((tries + 1)); sleep 0.01; done; one=${one%% *}; }\n";

    bool has_namespaces() {
        return run_shell("unshare --user --map-root-user --pid --fork --kill-child --mount-proc true").exit_code == 0;
    }
};

TEST_F(CairnSignals, AsProcessOneARunThatIsStoppedEndsAsElsewhere) {
    if (!has_namespaces()) GTEST_SKIP() << "no process namespaces here (unshare)";
    write_pipeline("touch working; while :; do sleep 0.05; done");
    for (const int signal : {SIGTERM, SIGINT}) {
        const auto stopped = run_shell(kAsOne + std::string("rm -f working; as_one \"$CAIRN\" run p.yaml --json\n") +
                                       "until [ -e working ]; do :; done\n"
                                       "kill -" +
                                       std::to_string(signal) + " $one; wait $u");
        EXPECT_EQ(stopped.exit_code, 128 + signal) << stopped.errors;
        EXPECT_EQ(Json::parse(stopped.output)["status"], "interrupted");
    }
}

// The lock keeps it from being done before the signal comes.
TEST_F(CairnSignals, AsProcessOneADeletionThatStopsEarlyIsNoSuccess) {
    if (!has_namespaces()) GTEST_SKIP() << "no process namespaces here (unshare)";
    FilledStore(folder_.sqlite_url()).add_run("r1", 250);
    const std::string script =
        kAsOne +
        std::string(
            "as_one \"$CAIRN\" prune --keep-last 1 --yes --json > report\n"
            "until grep -q cairn /proc/$one/comm && grep -q '^SigCgt:.*[2367abef]$' /proc/$one/status; do :; done\n"
            "kill -TERM $one; touch interrupted; wait $u");
    std::future<ProgramResult> interrupted;
    {
        const WriteLock lock(folder_ / "cairn.db");
        ASSERT_TRUE(lock.held());
        interrupted = std::async(std::launch::async, [&] { return run_shell(script); });
        while (!std::filesystem::exists(folder_ / "interrupted")) std::this_thread::yield();
    }
    EXPECT_EQ(interrupted.get().exit_code, 128 + SIGTERM);
    EXPECT_GT(parsed(run({"runs", "--json"}))[0]["snapshots"], 1);
}

// The command handles no signals itself, and it waits for its input. The kernel would not deliver SIGTERM to such a
// process 1 at all.
TEST_F(CairnSignals, AsProcessOneACommandThatWaitsIsEndedBySigterm) {
    if (!has_namespaces()) GTEST_SKIP() << "no process namespaces here (unshare)";
    const auto ended = run_shell(
        kAsOne +
        std::string(
            "mkfifo input; as_one \"$CAIRN\" save --run r --thread t --user u input\n"
            "until grep -q cairn /proc/$one/comm && grep -q '^SigCgt:.*[4567cdef]...$' /proc/$one/status; do :; done\n"
            "kill -TERM $one; wait $u"));
    EXPECT_EQ(ended.exit_code, 128 + SIGTERM) << ended.errors;
}

TEST_F(CairnSignals, AParentThatIgnoresTheEndOfItsChildrenChangesNothing) {
    write_pipeline("echo '{\"done\":true}'");
    const auto ran = run_shell("trap '' CHLD; exec \"$CAIRN\" run p.yaml --json");
    EXPECT_EQ(ran.exit_code, 0) << ran.errors;
    EXPECT_EQ(Json::parse(ran.output)["status"], "completed");
}

// `ulimit -f` counts blocks of 512 bytes. The store can be made, and can grow a little.
TEST_F(CairnSignals, AFileThatMayNotGrowIsAnError) {
    const std::string script =
        "printf '{\"text\":\"' > state.json; head -c 900000 /dev/urandom | base64 -w0 >> state.json; echo '\"}' >> "
        "state.json\n"
        "ulimit -f 600; exec \"$CAIRN\" save --run r --thread t --user u state.json";
    const auto refused = run_shell(script);
    expect_error(refused, ErrorCode::kStorageFull, "a file may not grow further");
    EXPECT_EQ(run({"load", "--run", "r"}).exit_code, exit_code_of(ErrorCode::kNotFound));
}

// The limit lets the store have its lock file. The export is larger.
TEST_F(CairnSignals, AnOutputThatMayNotGrowIsAnError) {
    saved(R"({"text":")" + std::string(200'000, 'x') + R"("})");
    const auto cut = run_shell("ulimit -f 128; exec \"$CAIRN\" export --run r1 > out.jsonl");
    expect_error(cut, ErrorCode::kStorageFull, "standard output cannot be written");
}

}  // namespace
}  // namespace cairn::test
