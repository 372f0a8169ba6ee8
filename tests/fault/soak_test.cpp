// Goal: everything that processes were told about their calls is true, successes and errors alike, although they are
// killed and stopped at any moment, disks fail and deadlines are short. An acknowledged save is there, exactly. A call
// with "nothing was applied" is never seen. A call of unknown outcome took effect once or not at all. A deleted run
// stays deleted. Nothing intact is called damaged. Method: processes of three kinds (savers, operators, readers) work
// on the same runs of one file. A supervisor kills some (SIGKILL), stops others for a while, perhaps with the store
// locked, and starts new ones. Half of the new ones have I/O errors injected into their system calls
// (support/io_faults.cpp). Each call is written to a ledger before and after it is made. In the end all processes are
// killed, and an oracle checks the store against the ledgers. On a violation the folder is kept. CAIRN_SOAK_SECONDS: go
// on for so long. CAIRN_TEST_SEED: the same dice; the scheduler's moments are not replayed.

#include "fault/kill/report.h"
#include "fault/soak/ledger.h"
#include "fault/soak/oracle.h"
#include "fault/soak/roles.h"
#include "support/seed.h"

#include <cairn/store.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

// A sanitizer's runtime must be the first library of a process, so no other can be preloaded.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCanPreload = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kCanPreload = false;
#else
constexpr bool kCanPreload = true;
#endif
#else
constexpr bool kCanPreload = true;
#endif

constexpr std::array kRoles{"saver", "saver", "saver", "operator", "operator", "reader", "reader"};
constexpr seconds kRoundAtMost{20};

/// Returns the path of a file in the folder of this program.
fs::path built(const std::string& name) {
    return fs::read_symlink("/proc/self/exe").parent_path() / name;
}

/// A folder with a store and the ledgers of all processes that used it. It is kept if something went wrong.
class Evidence {
public:
    Evidence() {
        std::string pattern = (fs::temp_directory_path() / "cairn-soak-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed: " + pattern);
        path_ = pattern;
        fs::create_directory(path_ / "store");
        fs::create_directory(path_ / "output");
    }
    ~Evidence() {
        std::error_code ignored;
        if (!testing::Test::HasFailure()) fs::remove_all(path_, ignored);
    }
    Evidence(const Evidence&) = delete;
    Evidence& operator=(const Evidence&) = delete;

    /// Copies the store as the dead processes have left it. Opening it would repair and tidy it.
    void keep_as_found() const { fs::copy(path_ / "store", path_ / "store-as-found", fs::copy_options::recursive); }

    std::string url() const { return "sqlite:" + (path_ / "store" / "agents.db").string(); }
    fs::path ledger(std::int32_t process) const { return path_ / fmt::format("ledger-{}.tsv", process); }
    fs::path output() const { return path_ / "output"; }
    const fs::path& path() const { return path_; }

private:
    fs::path path_;
};

class Worker {
public:
    Worker(const Evidence& evidence, const std::string& role, std::int32_t process, Dice& dice) : process_(process) {
        const std::string seed = fmt::to_string(dice.below(1U << 31U));
        std::vector<std::string> words{built("soak_worker"),    role, evidence.url(), evidence.ledger(process),
                                       fmt::to_string(process), seed};
        std::map<std::string, std::string> faults;
        if (kCanPreload && dice.percent(50)) {
            faults = {{"LD_PRELOAD", built("libcairn_io_faults.so")},
                      {"IO_FAULTS_MATCH", "/store/agents.db"},
                      {"IO_FAULTS_RATE", fmt::to_string(1 + dice.below(dice.percent(80) ? 60 : 800))},
                      {"IO_FAULTS_SKIP", fmt::to_string(dice.below(400))},
                      {"IO_FAULTS_SEED", seed}};
        }
        pid_ = ::fork();
        if (pid_ < 0) throw std::runtime_error("fork failed");
        if (pid_ != 0) return;
        ::setpgid(0, 0);  // the group of all programs that it starts
        if (::chdir(evidence.output().c_str()) != 0) std::_Exit(98);
        for (const auto& [name, value] : faults) ::setenv(name.c_str(), value.c_str(), 1);
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        ::execv(argv[0], argv.data());
        std::_Exit(97);
    }

    std::int32_t process() const { return process_; }
    bool is_stopped() const { return goes_on_at_.has_value(); }

    void stop_for(milliseconds duration) {
        ::kill(-pid_, SIGSTOP);
        goes_on_at_ = Clock::now() + duration;
    }
    void go_on_if_due() {
        if (!goes_on_at_ || Clock::now() < *goes_on_at_) return;
        ::kill(-pid_, SIGCONT);
        goes_on_at_.reset();
    }
    /// Says whether the process has ended by itself. It must not.
    bool has_ended() {
        int status = 0;
        if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
        ADD_FAILURE() << "process " << process_
                      << (WIFSIGNALED(status) ? fmt::format(" died of signal {}", WTERMSIG(status))
                                              : fmt::format(" ended with {}", WEXITSTATUS(status)));
        return true;
    }
    /// Kills the process and all that it has started. Returns the time, once they are dead.
    std::int64_t kill() {
        ::kill(-pid_, SIGKILL);
        ::kill(pid_, SIGKILL);  // it may have no group yet
        int status = 0;
        while (::waitpid(-pid_, &status, 0) > 0 || ::waitpid(pid_, &status, 0) > 0) {
        }
        return nanoseconds_now();
    }

private:
    std::int32_t process_;
    pid_t pid_ = 0;
    std::optional<Clock::time_point> goes_on_at_;
};

class Supervisor {
public:
    Supervisor(const Evidence& evidence, Dice& dice) : evidence_(evidence), dice_(dice) {}

    /// Runs the processes until that time. Returns the calls in all of their ledgers.
    std::vector<Call> supervise(Clock::time_point until) {
        make_store();
        for (const char* role : kRoles) workers_.push_back(start(role));
        while (Clock::now() < until && !testing::Test::HasFailure()) {
            std::this_thread::sleep_for(milliseconds(1 + dice_.below(15)));
            for (std::size_t i = 0; i < workers_.size(); ++i) look_after(i);
            disturb(dice_.below(workers_.size()));
        }
        for (Worker& worker : workers_) died_[worker.process()] = worker.kill();
        std::vector<Call> calls;
        for (const auto& [process, died] : died_) {
            std::ranges::move(read_ledger(evidence_.ledger(process), died), std::back_inserter(calls));
        }
        return calls;
    }

    std::size_t processes() const { return died_.size(); }
    std::uint64_t stops() const { return stops_; }

private:
    void make_store() const {
        const auto store = open_store(evidence_.url());
        ASSERT_TRUE(store.has_value()) << store.error().to_string();
        ASSERT_TRUE((*store)->close().has_value());
    }

    Worker start(const std::string& role) { return {evidence_, role, ++started_, dice_}; }

    void look_after(std::size_t index) {
        Worker& worker = workers_[index];
        worker.go_on_if_due();
        if (!worker.is_stopped() && worker.has_ended()) replace(index);
    }

    void disturb(std::size_t index) {
        Worker& worker = workers_[index];
        if (worker.is_stopped()) return;
        if (dice_.percent(20)) {
            worker.stop_for(milliseconds(1 + dice_.below(dice_.percent(80) ? 30 : 400)));
            ++stops_;
        } else if (dice_.percent(8)) {
            replace(index);
        }
    }

    void replace(std::size_t index) {
        died_[workers_[index].process()] = workers_[index].kill();
        workers_[index] = start(kRoles[index]);
    }

    const Evidence& evidence_;
    Dice& dice_;
    std::vector<Worker> workers_;
    std::int32_t started_ = 0;
    std::uint64_t stops_ = 0;
    std::map<std::int32_t, std::int64_t> died_;
};

Clock::time_point end_of_soak() {
    const char* given = std::getenv("CAIRN_SOAK_SECONDS");
    return Clock::now() + seconds(given == nullptr ? 20 : std::strtoll(given, nullptr, 10));
}

TEST(Soak, AnswersToManyProcessesAreTrue) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // we must wait for the programs that a killed process has started
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    fmt::print("seed {}\n", first_seed);
    if (!kCanPreload) fmt::print("no I/O errors are injected: a sanitizer's runtime has to be the first library\n");
    Dice dice(first_seed);
    SoakFigures figures;
    std::size_t rounds = 0;
    std::size_t processes = 0;
    std::uint64_t stops = 0;
    std::uint64_t violations = 0;
    for (const auto end = end_of_soak(); Clock::now() < end && !HasFailure(); ++rounds) {
        const Evidence evidence;
        Supervisor supervisor(evidence, dice);
        const auto round_end = std::min(end, Clock::now() + kRoundAtMost);
        Oracle oracle(supervisor.supervise(round_end));
        evidence.keep_as_found();
        for (const Violation& violation : oracle.examine(evidence.url(), figures)) {
            violations += violation.times;
            ADD_FAILURE() << fmt::format("[{}] {}{}", violation.rule, violation.what,
                                         violation.times > 1 ? fmt::format(" (and {} more)", violation.times - 1) : "");
        }
        processes += supervisor.processes();
        stops += supervisor.stops();
        if (HasFailure()) {
            fmt::print("the store and the ledgers stay in {}\n", evidence.path().string());
            std::ofstream(evidence.path() / "seed") << first_seed << '\n';
        }
    }
    fmt::print("seed {}: {} rounds, {} processes, {} stops, {} violations\n{}", first_seed, rounds, processes, stops,
               violations, figures.to_string());
    EXPECT_GT(figures.calls["save: persisted"], 0U);
    EXPECT_GT(figures.calls["save: deduplicated"], 0U);
}

}  // namespace
}  // namespace cairn::test
