// Goal: a program in any language can be an agent. It may flood, hang, crash, leave children behind or answer
// nonsense. Then the step ends with the right error, and nothing is left of it: no process, no descriptor, no zombie.
// Method: shell one-liners. Some tests must see that processes are gone. There the processes hold the write end of a
// FIFO, which reaches its end of file when the last of them has died.

#include "support/child_process.h"
#include "support/temp_dir.h"

#include <cairn/pipeline.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using Output = CommandOptions::Output;

// A grace period longer than any test, for programs that must end before it is over.
constexpr auto kNeverKilled = std::chrono::milliseconds::max();

State state_of(std::string_view text) {
    return State::parse(text).value();
}

CommandOptions shell(std::string script) {
    return {.command = {"/bin/sh", "-c", std::move(script)}};
}

Result<State> run(CommandOptions options, const State& state = {}, AgentCall call = {}) {
    if (!call.progress) call.progress = [](std::string_view) {};
    return command_agent(std::move(options))(state, call);
}

std::string text_of(const Result<State>& result) {
    return result ? std::string(result->text()) : result.error().to_string();
}

/// Returns the error of a run. If there is none, it returns an error that says so.
Error error_of(const Result<State>& result) {
    return result ? Error{.message = "there was no error"} : result.error();
}

/// Records the lines that a program writes to its standard error. The test can react to each line.
struct Progress {
    std::vector<std::string> lines;

    AgentCall call(const std::function<void(std::string_view)>& also = nullptr) {
        return {.progress = [this, also](std::string_view line) {
            lines.emplace_back(line);
            if (also) also(line);
        }};
    }
};

/// A call that is asked to stop as soon as the program writes "ready".
class StoppedCall {
public:
    AgentCall call() {
        return {.stop = source_.get_token(), .progress = [this](std::string_view line) {
                    if (line == "ready") source_.request_stop();
                }};
    }

private:
    std::stop_source source_;
};

/// A FIFO that the observed processes hold open: `exec 9>"$WITNESS"; echo >&9`.
class Witness {
public:
    Witness() {
        if (::mkfifo(path().c_str(), 0600) != 0) throw std::runtime_error("mkfifo failed");
        reader_ = ::open(path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    }
    ~Witness() { ::close(reader_); }
    Witness(const Witness&) = delete;
    Witness& operator=(const Witness&) = delete;

    std::string path() const { return dir_ / "witness"; }
    CommandOptions shell(const std::string& script) const {
        CommandOptions options = test::shell("exec 9>\"$WITNESS\"; echo >&9; " + script);
        options.environment["WITNESS"] = path();
        return options;
    }

    /// Waits until no process holds it any more. Returns false if none ever did.
    bool sees_all_gone() const {
        ::fcntl(reader_, F_SETFL, 0);
        char byte = 0;
        bool was_held = false;
        while (::read(reader_, &byte, 1) == 1) was_held = true;
        return was_held;
    }

private:
    TempDir dir_;
    int reader_;
};

void write_file(const std::filesystem::path& path, std::string_view text, mode_t mode = 0755) {
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
}

std::ptrdiff_t open_descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

bool has_children() {
    return ::waitpid(-1, nullptr, WNOHANG) != -1 || errno != ECHILD;
}

TEST(CommandAgent, TheOutputOfTheProgramIsTheNewState) {
    constexpr std::string_view kText = R"({"big":123456789012345678901234567890,"a":1.0,"e":"\u0000\ud800"})";
    EXPECT_EQ(text_of(run({.command = {"cat"}}, state_of(kText))), kText);
}

TEST(CommandAgent, WhiteSpaceInTheOutputIsNotKept) {
    EXPECT_EQ(text_of(run(shell(R"(printf '\n { "a" : 1 }\n')"))), R"({"a":1})");
}

TEST(CommandAgent, AMergePatchChangesWhatItNames) {
    CommandOptions options = shell(R"(echo '{"b":null,"c":{"d":2.50}}')");
    options.output = Output::kMergePatch;
    EXPECT_EQ(text_of(run(options, state_of(R"({"a":1.0,"b":2,"c":{"x":0}})"))), R"({"a":1.0,"c":{"x":0,"d":2.50}})");
}

TEST(CommandAgent, APatchMayBeLimitedThoughTheStateIsLarger) {
    CommandOptions options = shell(R"(echo '{"b":1}')");
    options.output = Output::kMergePatch;
    options.output_bytes_max = 16;
    EXPECT_EQ(text_of(run(options, state_of(R"({"a":"longer than sixteen bytes"})"))),
              R"({"a":"longer than sixteen bytes","b":1})");
}

TEST(CommandAgent, TheCallIsInItsEnvironment) {
    const AgentCall call{.run_id = "r 1",
                         .thread_id = "t",
                         .user_id = "u",
                         .pipeline = "p",
                         .step = "s",
                         .attempt = 7,
                         .with = state_of(R"({"model":"x"})")};
    EXPECT_EQ(text_of(run(shell(R"(printf '["%s","%s","%s","%s","%s",%s,%s]' "$CAIRN_RUN_ID" "$CAIRN_THREAD_ID" )"
                                R"("$CAIRN_USER_ID" "$CAIRN_PIPELINE" "$CAIRN_STEP" "$CAIRN_ATTEMPT" "$CAIRN_WITH" )"
                                R"(| sed 's/.*/{"call":&}/')"),
                          {}, call)),
              R"({"call":["r 1","t","u","p","s",7,{"model":"x"}]})");
}

TEST(CommandAgent, ItsEnvironmentIsOnTopOfThisProcesssAndBelowTheCalls) {
    ASSERT_EQ(::setenv("CAIRN_TEST_KEPT", "kept", 1), 0);
    ASSERT_EQ(::setenv("CAIRN_TEST_CHANGED", "old", 1), 0);
    CommandOptions options =
        shell(R"(printf '{"v":"%s %s %s"}' "$CAIRN_TEST_KEPT" "$CAIRN_TEST_CHANGED" "$CAIRN_STEP")");
    options.environment = {{"CAIRN_TEST_CHANGED", "new"}, {"CAIRN_STEP", "forged"}};
    EXPECT_EQ(text_of(run(options, {}, {.step = "true"})), R"({"v":"kept new true"})");
}

TEST(CommandAgent, OnlyTheNamedVariablesOfThisProcessArePassedOn) {
    ASSERT_EQ(::setenv("CAIRN_TEST_KEPT", "kept", 1), 0);
    ASSERT_EQ(::setenv("CAIRN_TEST_SECRET", "secret", 1), 0);
    CommandOptions options =
        shell(R"(printf '{"v":"%s %s %s %s"}' "$CAIRN_TEST_KEPT" "$CAIRN_TEST_SECRET" "$OWN" "$CAIRN_STEP")");
    options.environment = {{"OWN", "own"}};
    options.pass_environment = {{"CAIRN_TEST_KEPT", "CAIRN_TEST_NOWHERE"}};
    EXPECT_EQ(text_of(run(options, {}, {.step = "s"})), R"({"v":"kept  own s"})");
    options.pass_environment = {std::set<std::string>()};
    EXPECT_EQ(text_of(run(options, {}, {.step = "s"})), R"({"v":"  own s"})");
}

TEST(CommandAgent, AProgramIsLookedUpInThePathThatItIsGiven) {
    const TempDir dir;
    write_file(dir / "cairn-test-agent", "#!/bin/sh\necho '{\"found\":true}'\n");
    CommandOptions options{.command = {"cairn-test-agent"}};
    options.environment["PATH"] = "/no/such/folder:" + dir.path().string() + ":/usr/bin:/bin";
    EXPECT_EQ(text_of(run(options)), R"({"found":true})");
}

TEST(CommandAgent, ARelativeProgramStartsInItsWorkingFolder) {
    const TempDir dir;
    write_file(dir / "agent", "#!/bin/sh\nprintf '{\"in\":\"%s\"}' \"$(pwd -P)\"\n");
    const CommandOptions options{.command = {"./agent"}, .working_folder = dir.path()};
    EXPECT_EQ(text_of(run(options)), "{\"in\":\"" + std::filesystem::canonical(dir.path()).string() + "\"}");
}

TEST(CommandAgent, EachLineOfItsErrorsIsProgress) {
    Progress progress;
    EXPECT_EQ(text_of(run(shell(R"(printf 'one\n\ntwo\r\n10%%\r20%%\rlast' >&2; echo '{}')"), {}, progress.call())),
              "{}");
    EXPECT_THAT(progress.lines, ElementsAre("one", "two", "10%", "20%", "last"));
}

TEST(CommandAgent, ProgressIsCutBetweenCharactersAndMadeReadable) {
    Progress progress;
    const std::string euros =
        R"(printf 'x' >&2; i=0; while [ $i -lt 500 ]; do printf '\342\202\254' >&2; i=$((i+1)); done;)";
    EXPECT_EQ(text_of(run(shell(euros + R"(printf '\na\377b\342\202\n' >&2; echo '{}')"), {}, progress.call())), "{}");
    ASSERT_EQ(progress.lines.size(), 2U);
    EXPECT_EQ(progress.lines[0].size(), 1024U);  // "x" and 341 euro signs of 3 bytes
    EXPECT_THAT(progress.lines[0], EndsWith("€"));
    EXPECT_EQ(progress.lines[1],
              "a\xEF\xBF\xBD"
              "b\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(CommandAgent, ProgressIsToldWhileTheProgramRuns) {
    const TempDir dir;
    const std::string fifo = dir / "answer";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    CommandOptions options = shell(R"(echo question >&2; read -r answer <"$FIFO"; printf '{"answer":"%s"}' "$answer")");
    options.environment["FIFO"] = fifo;
    Progress progress;
    const auto answer = [&](std::string_view) { std::ofstream(fifo) << "42\n"; };
    EXPECT_EQ(text_of(run(options, {}, progress.call(answer))), R"({"answer":"42"})");
    EXPECT_THAT(progress.lines, ElementsAre("question"));
}

TEST(CommandAgent, AFailedExitIsToldWithItsCodeAndTheEndOfItsErrors) {
    const Error error = error_of(
        run(shell("echo FIRST >&2; i=0; while [ $i -lt 1000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3")));
    EXPECT_EQ(error.code, ErrorCode::kAgentFailed);
    EXPECT_THAT(error.message,
                AllOf(HasSubstr("\"/bin/sh\" exited with code 3: "), EndsWith("line 999"), Not(HasSubstr("FIRST"))));
    EXPECT_GT(error.message.size(), 4000U);
    EXPECT_LT(error.message.size(), 4200U);
}

TEST(CommandAgent, AFailedExitWithoutErrorsSaysJustThat) {
    EXPECT_EQ(error_of(run(shell("exit 1"))).message, "program \"/bin/sh\" exited with code 1");
}

TEST(CommandAgent, ADeathBySignalIsToldWithItsName) {
    const Error error = error_of(run(shell("ulimit -c 0; echo '{}'; echo so long >&2; kill -SEGV $$")));
    EXPECT_EQ(error.code, ErrorCode::kAgentFailed);
    EXPECT_EQ(error.message, "program \"/bin/sh\" was ended by SIGSEGV: so long");
}

TEST(CommandAgent, OutputThatIsNoObjectIsAnErrorThatNamesProgramAndPlace) {
    for (const char* output : {R"({"a":)", R"([1])", R"({"a":1} {)", R"({"a":NaN})", "Traceback"}) {
        CommandOptions options = shell(R"(printf %s "$OUTPUT")");
        options.environment["OUTPUT"] = output;
        const Error error = error_of(run(options));
        EXPECT_EQ(error.code, ErrorCode::kInvalidState) << output;
        EXPECT_THAT(error.message, AllOf(HasSubstr("program \"/bin/sh\""), HasSubstr("byte"))) << output;
    }
}

TEST(CommandAgent, APatchThatIsNoObjectIsAnError) {
    CommandOptions options = shell("echo null");
    options.output = Output::kMergePatch;
    EXPECT_EQ(error_of(run(options, state_of(R"({"a":1})"))).code, ErrorCode::kInvalidState);
}

TEST(CommandAgent, NoOutputHasAMessageOfItsOwn) {
    const Error error = error_of(run(shell("echo")));
    EXPECT_EQ(error.code, ErrorCode::kInvalidState);
    EXPECT_THAT(error.message, HasSubstr("wrote nothing to its standard output"));
}

TEST(CommandAgent, OutputThatIsTooDeepIsAnError) {
    const Error error = error_of(run(shell(R"(printf '{"a":'; head -c 100000 /dev/zero | tr '\0' '[')")));
    EXPECT_EQ(error.code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(error.message, HasSubstr("program \"/bin/sh\""));
}

TEST(CommandAgent, AProgramNeedNotReadItsInput) {
    const State large = state_of("{\"a\":\"" + std::string(10U << 20U, 'x') + "\"}");
    EXPECT_EQ(text_of(run(shell("exec echo '{}'"), large)), "{}");
    EXPECT_EQ(text_of(run(shell("head -c 10 >/dev/null; exec <&-; echo '{}'"), large)), "{}");
}

TEST(CommandAgent, LargeInputOutputAndErrorsDoNotBlockEachOther) {
    const State large = state_of("{\"a\":\"" + std::string(10U << 20U, 'x') + "\"}");
    EXPECT_TRUE(run(shell("tee /dev/stderr"), large) == large);
}

TEST(CommandAgent, TheInputCanBeOpenedByItsName) {
    EXPECT_EQ(text_of(run(shell("cat /dev/stdin"), state_of(R"({"a":1})"))), R"({"a":1})");
}

TEST(CommandAgent, AProgramThatFloodsItsOutputIsKilledInBoundedMemory) {
    const Witness witness;
    CommandOptions options = witness.shell("exec head -c 1073741824 /dev/zero");
    options.output_bytes_max = 4U << 20U;
    rusage before{};
    rusage after{};
    ::getrusage(RUSAGE_SELF, &before);
    const Error error = error_of(run(options));
    ::getrusage(RUSAGE_SELF, &after);
    EXPECT_EQ(error.code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(error.message, AllOf(HasSubstr("4194304 bytes"), HasSubstr("output_bytes_max")));
    EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64L << 10) << "in kB";
    EXPECT_TRUE(witness.sees_all_gone());
}

TEST(CommandAgent, OutputOfJustTheLimitIsTaken) {
    CommandOptions options = shell(R"(printf '{"a":12}')");
    options.output_bytes_max = 8;
    EXPECT_EQ(text_of(run(options)), R"({"a":12})");
    options.output_bytes_max = 7;
    EXPECT_EQ(error_of(run(options)).code, ErrorCode::kLimitExceeded);
}

TEST(CommandAgent, AFloodOfErrorsDoesNotDisturb) {
    Progress progress;
    rusage before{};
    rusage after{};
    ::getrusage(RUSAGE_SELF, &before);
    const Result<State> result =
        run(shell(R"(head -c 268435456 /dev/zero | tr '\0' x >&2; echo '{}')"), {}, progress.call());
    ::getrusage(RUSAGE_SELF, &after);
    EXPECT_EQ(text_of(result), "{}");
    EXPECT_THAT(progress.lines, ElementsAre(std::string(1024, 'x')));
    EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 64L << 10) << "in kB";
}

TEST(CommandAgent, AProgramThatIsNotThereIsNamed) {
    const Error in_path = error_of(run({.command = {"cairn-no-such-program"}}));
    EXPECT_EQ(in_path.code, ErrorCode::kNotFound);
    EXPECT_THAT(in_path.message, HasSubstr("\"cairn-no-such-program\" in PATH"));
    const Error by_path = error_of(run({.command = {"/no/such/program"}}));
    EXPECT_EQ(by_path.code, ErrorCode::kNotFound);
    EXPECT_THAT(by_path.message, HasSubstr("\"/no/such/program\""));
}

TEST(CommandAgent, AWorkingFolderThatIsNotThereIsNamed) {
    const Error error = error_of(run({.command = {"cat"}, .working_folder = "/no/such/folder"}));
    EXPECT_EQ(error.code, ErrorCode::kNotFound);
    EXPECT_THAT(error.message, HasSubstr("\"/no/such/folder\""));
}

TEST(CommandAgent, AFileThatCannotBeExecutedIsNamed) {
    const TempDir dir;
    write_file(dir / "no-permission", "#!/bin/sh\necho '{}'\n", 0644);
    write_file(dir / "no-format", "echo '{}'\n");
    for (const auto& path : {dir / "no-permission", dir / "no-format", dir.path()}) {
        const std::string program = path;
        const Error error = error_of(run({.command = {program}}));
        EXPECT_EQ(error.code, ErrorCode::kInvalidArgument) << program;
        EXPECT_THAT(error.message, AllOf(HasSubstr(program), HasSubstr("cannot be executed")));
    }
    write_file(dir / "no-interpreter", "#!/no/such/interpreter\n");
    const Error error = error_of(run({.command = {dir / "no-interpreter"}}));
    EXPECT_EQ(error.code, ErrorCode::kNotFound);
    EXPECT_THAT(error.message, HasSubstr("interpreter"));
}

TEST(CommandAgent, ACommandThatCannotBeRightIsRefused) {
    const std::string nul(1, '\0');
    CommandOptions no_name{.command = {"cat"}};
    no_name.environment["A=B"] = "x";
    CommandOptions nul_in_value{.command = {"cat"}};
    nul_in_value.environment["NAME"] = "a" + nul;
    const std::vector<CommandOptions> wrong{{}, {.command = {""}}, {.command = {"cat", nul}}, no_name, nul_in_value};
    for (const CommandOptions& options : wrong) {
        EXPECT_EQ(error_of(run(options)).code, ErrorCode::kInvalidArgument);
    }
    EXPECT_THAT(error_of(run(nul_in_value)).message, HasSubstr("variable NAME of program \"cat\" has a NUL byte"));
}

TEST(CommandAgent, SettingsThatTheKernelDoesNotTakeAreNamed) {
    const AgentCall call{.with = state_of("{\"prompt\":\"" + std::string(3U << 20U, 'x') + "\"}")};
    const Error error = error_of(run({.command = {"cat"}}, {}, call));
    EXPECT_EQ(error.code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(error.message, HasSubstr("CAIRN_WITH"));
}

TEST(CommandAgent, IsNotStartedAfterItWasAskedToStop) {
    const TempDir dir;
    std::stop_source source;
    source.request_stop();
    CommandOptions options = shell("echo >\"$STARTED\"; echo '{}'");
    options.environment["STARTED"] = dir / "started";
    EXPECT_EQ(error_of(run(options, {}, {.stop = source.get_token()})).code, ErrorCode::kUnavailable);
    EXPECT_FALSE(std::filesystem::exists(dir / "started"));
}

TEST(CommandAgent, StopsWhenAsked) {
    const Witness witness;
    StoppedCall stopped;
    CommandOptions options = witness.shell("echo ready >&2; sleep 1000; echo '{}'");
    options.grace = kNeverKilled;
    const Error error = error_of(run(options, {}, stopped.call()));
    EXPECT_EQ(error.code, ErrorCode::kUnavailable);
    EXPECT_THAT(error.message, HasSubstr("\"/bin/sh\" was asked to stop"));
    EXPECT_TRUE(witness.sees_all_gone());
}

TEST(CommandAgent, MayUseTheGraceToCleanUp) {
    const TempDir dir;
    StoppedCall stopped;
    CommandOptions options =
        shell(R"(trap 'echo cleaned >"$NOTE"; exit 0' TERM; echo ready >&2; sleep 1000 & while :; do wait; done)");
    options.environment["NOTE"] = dir / "note";
    options.grace = kNeverKilled;
    EXPECT_EQ(error_of(run(options, {}, stopped.call())).code, ErrorCode::kUnavailable);
    EXPECT_TRUE(std::filesystem::exists(dir / "note"));
}

TEST(CommandAgent, OneThatIgnoresSigtermIsKilledAfterTheGrace) {
    const Witness witness;
    StoppedCall stopped;
    CommandOptions options = witness.shell("trap '' TERM; echo ready >&2; while :; do sleep 1000; done");
    options.grace = std::chrono::milliseconds(1);
    EXPECT_EQ(error_of(run(options, {}, stopped.call())).code, ErrorCode::kUnavailable);
    EXPECT_TRUE(witness.sees_all_gone());
}

TEST(CommandAgent, ItsChildrenThatIgnoreSigtermAreKilledToo) {
    const Witness witness;
    StoppedCall stopped;
    CommandOptions options =
        witness.shell("(trap '' TERM; sleep 1000) & (trap '' TERM; sleep 1000) & echo ready >&2; wait");
    options.grace = kNeverKilled;  // the program's own end is enough
    EXPECT_EQ(error_of(run(options, {}, stopped.call())).code, ErrorCode::kUnavailable);
    EXPECT_TRUE(witness.sees_all_gone());
}

TEST(CommandAgent, OneThatFloodsIsStoppedToo) {
    const Witness witness;
    StoppedCall stopped;
    CommandOptions options = witness.shell("echo ready >&2; trap '' TERM; yes >&2");
    options.grace = std::chrono::milliseconds(1);
    EXPECT_EQ(error_of(run(options, {}, stopped.call())).code, ErrorCode::kUnavailable);
    EXPECT_TRUE(witness.sees_all_gone());
}

TEST(CommandAgent, ChildrenLeftBehindAreKilledAndNotAwaited) {
    const Witness witness;
    EXPECT_EQ(text_of(run(witness.shell(R"(sleep 1000 & (trap '' TERM; sleep 1000) & echo '{"a":1}')"))), R"({"a":1})");
    EXPECT_TRUE(witness.sees_all_gone());
}

TEST(CommandAgent, AProcessThatHasLeftTheGroupWithThePipesIsNotAwaited) {
    const TempDir dir;
    for (const char* name : {"up", "release"}) ASSERT_EQ(::mkfifo((dir / name).c_str(), 0600), 0);
    CommandOptions options =
        shell(R"(setsid sh -c 'echo >up; read -r line <release' & read -r up <up; echo '{"a":1}')");
    options.working_folder = dir.path();
    EXPECT_EQ(text_of(run(options)), R"({"a":1})");
    std::fstream(dir / "release") << "\n";
}

TEST(CommandAgent, OneThatClosesItsPipesIsAwaited) {
    EXPECT_THAT(error_of(run(shell("exec >&- 2>&-; sleep 0.01; exit 5"))).message, HasSubstr("exited with code 5"));
}

// The kernel would not report how the program ended, so a step that has run would count as failed.
TEST(CommandAgent, IsNotStartedWhereChildrenAreNotAwaited) {
    const TempDir folder;
    struct sigaction before{};
    for (const int flags : {0, SA_NOCLDWAIT}) {
        struct sigaction ignored{};
        ignored.sa_handler = flags == 0 ? SIG_IGN : SIG_DFL;
        ignored.sa_flags = flags;
        ASSERT_EQ(::sigaction(SIGCHLD, &ignored, flags == 0 ? &before : nullptr), 0);
        const auto refused = run(shell("touch " + (folder / "ran").string()));
        EXPECT_THAT(text_of(refused), HasSubstr("this process ignores SIGCHLD"));
        EXPECT_FALSE(std::filesystem::exists(folder / "ran"));
    }
    ASSERT_EQ(::sigaction(SIGCHLD, &before, nullptr), 0);
    EXPECT_EQ(text_of(run(shell("echo '{}'"))), "{}");
}

TEST(CommandAgent, StartsWithDefaultSignals) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    const auto pipe_before = std::signal(SIGPIPE, SIG_IGN);
    const auto hangup_before = std::signal(SIGHUP, SIG_IGN);
    const Result<State> result = run(
        shell(R"(sed -n 's/^Sig\(Blk\|Ign\):\t\(.*\)/"\1":"\2"/p' /proc/self/status | paste -sd, | sed 's/.*/{&}/')"));
    std::signal(SIGPIPE, pipe_before);
    std::signal(SIGHUP, hangup_before);
    sigset_t after;
    ::pthread_sigmask(SIG_SETMASK, &before, &after);
    // Signals 32 and 33 belong to the C library. A process that posix_spawn has started (as make does) ignores them for
    // good, and a sanitizer may use one of them.
    EXPECT_THAT(text_of(result), ::testing::MatchesRegex(R"(\{"Blk":"0{16}","Ign":"0{7}[01][08]0{7}"\})"));
    EXPECT_EQ(sigismember(&after, SIGUSR1), 1) << "the caller's mask has changed";
}

TEST(CommandAgent, InheritsNoDescriptorButTheStandardOnes) {
    const int leaky = ::dup(STDERR_FILENO);  // not close-on-exec
    const Result<State> result =
        run(shell("test ! -e /proc/$$/fd/" + std::to_string(leaky) + R"( && echo '{"closed":true}')"));
    ::close(leaky);
    EXPECT_EQ(text_of(result), R"({"closed":true})");
}

TEST(CommandAgent, WorksInAProcessWithoutStandardDescriptors) {
    ChildProcess executor([](const Channel&) {
        for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::close(descriptor);
        Progress progress;
        const Result<State> result = run(shell("echo note >&2; cat"), state_of(R"({"a":1})"), progress.call());
        return result && result->text() == R"({"a":1})" && progress.lines == std::vector<std::string>{"note"} ? 0 : 1;
    });
    EXPECT_EQ(executor.wait(), 0);
}

TEST(CommandAgent, AWatcherThatThrowsEndsItAndLeavesNothing) {
    const Witness witness;
    const AgentCall call{.progress = [](std::string_view) { throw std::runtime_error("watcher"); }};
    const Error error = error_of(run(witness.shell("echo ready >&2; sleep 1000"), {}, call));
    EXPECT_EQ(error.code, ErrorCode::kInternal);
    EXPECT_THAT(error.detail, HasSubstr("watcher"));
    EXPECT_TRUE(witness.sees_all_gone());
}

TEST(CommandAgent, ManyInParallelLeaveNeitherDescriptorsNorZombies) {
    const auto before = open_descriptors();
    std::vector<std::string> outputs(50);
    {
        std::vector<std::jthread> threads;
        threads.reserve(outputs.size());
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            threads.emplace_back([&output = outputs[i], i] {
                const State state = state_of("{\"i\":" + std::to_string(i) + "}");
                [[maybe_unused]] const auto ignored = run({.command = {"/no/such/program"}}, state);
                [[maybe_unused]] const auto ignored_too = run(shell("sleep 1000 & exit 1"), state);
                output = text_of(run(shell("echo note >&2; cat"), state));
            });
        }
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) EXPECT_EQ(outputs[i], "{\"i\":" + std::to_string(i) + "}");
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_FALSE(has_children());
}

// Kills an executor while the program that it runs is at work. Expects that nothing of the program is left.
void expect_gone_with_its_executor(const std::string& script) {
    const Witness witness;
    ChildProcess executor([&](const Channel& channel) {
        const AgentCall call{.progress = [&](std::string_view) { channel.say(1); }};
        [[maybe_unused]] const auto ignored = run(witness.shell(script), {}, call);
        return 0;
    });
    ASSERT_TRUE(executor.channel().hear());
    EXPECT_EQ(executor.kill(), -SIGKILL);
    EXPECT_TRUE(witness.sees_all_gone());
}

TEST(CommandAgent, DoesNotOutliveAKilledExecutor) {
    expect_gone_with_its_executor("echo ready >&2; exec sleep 1000");
}

TEST(CommandAgent, ItsChildrenDoNotOutliveAKilledExecutor) {
    expect_gone_with_its_executor("sh -c 'trap \"\" TERM HUP; echo ready >&2; sleep 1000' & wait");
}

}  // namespace
}  // namespace cairn::test
