// Goal: everything that a process was told about its saves is true after it was killed (SIGKILL) at any moment. A save
// that was acknowledged as `sync`, was flushed, or came before a critical save loads exactly. Saves that were only
// queued are lost from the end of their run, and within the limits of the queue. The file is sound, and the next
// process goes on with it. Method: a child saves from eight threads in every possible way and reports each answer
// through a pipe. It is killed at a random moment, from microseconds to 100 ms after its first answer. The parent opens
// the file and compares. Every state says who made it, so the parent knows its exact text. In the second test several
// such processes use one file, partly with the same runs, beside one that prunes and deletes. CAIRN_SOAK_SECONDS: go on
// for so long, instead of for a number of rounds. CAIRN_TEST_SEED: replay; the kernel's scheduling is not replayed.

#include "fault/kill/busy_saver.h"
#include "fault/kill/witness.h"
#include "support/child_process.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>

namespace cairn::test {
namespace {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

constexpr int kRoundsPerFile = 8;
constexpr int kPipeBytes = 1 << 20;

// A process that reports until it is killed, and its reports.
class Victim {
public:
    // Runs `body(reports)` in the process; `reports` is the write end of the pipe.
    template <class Body>
    Victim(Body body, nanoseconds time_to_live) : time_to_live_(time_to_live) {
        int ends[2];
        if (::pipe(ends) != 0) throw std::runtime_error("pipe failed");
        ::fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes);
        process_ = std::make_unique<ChildProcess>([&](const Channel&) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::close(ends[0]);
            return body(ends[1]);
        });
        ::close(ends[1]);
        reports_ = ends[0];
    }
    ~Victim() { ::close(reports_); }
    Victim(const Victim&) = delete;
    Victim& operator=(const Victim&) = delete;

    int pipe() const { return reports_; }
    /// Starts the countdown of its life. The first report does that; for a process without reports, it is done at once.
    void start_counting() {
        if (!dies_at_) dies_at_ = Clock::now() + time_to_live_;
    }
    bool is_alive() const { return process_ != nullptr; }
    std::optional<Clock::time_point> dies_at() const { return dies_at_; }

    /// Reads one report. Returns false at the end.
    bool read_into(std::vector<Report>& reports) {
        Report report;
        const ssize_t bytes = ::read(reports_, &report, sizeof report);
        if (bytes != sizeof report) return false;
        reports.push_back(report);
        start_counting();
        return true;
    }
    void kill(std::vector<Report>& reports) {
        ::kill(process_->pid(), SIGKILL);
        while (read_into(reports)) {
        }
        EXPECT_EQ(process_->wait(), -SIGKILL) << "it ended by itself";
        process_.reset();
    }

private:
    std::unique_ptr<ChildProcess> process_;
    const nanoseconds time_to_live_;
    int reports_ = -1;
    std::optional<Clock::time_point> dies_at_;
};

using Victims = std::vector<std::unique_ptr<Victim>>;

// Returns the process that is to be killed next, or none if all still wait for their first report.
Victim* next_to_die(const Victims& victims) {
    Victim* next = nullptr;
    for (const auto& victim : victims) {
        if (!victim->is_alive() || !victim->dies_at()) continue;
        if (next == nullptr || *victim->dies_at() < *next->dies_at()) next = victim.get();
    }
    return next;
}

// Collects the processes' reports, and kills each process when its time is over.
std::vector<Report> watch_die(const Victims& victims) {
    std::vector<Report> reports;
    while (std::ranges::any_of(victims, [](const auto& victim) { return victim->is_alive(); })) {
        std::vector<pollfd> pipes;
        for (const auto& victim : victims) pipes.push_back({victim->is_alive() ? victim->pipe() : -1, POLLIN, 0});
        timespec wait{.tv_sec = 30, .tv_nsec = 0};
        Victim* const next = next_to_die(victims);
        if (next != nullptr) {
            const auto left = std::max(nanoseconds(*next->dies_at() - Clock::now()), nanoseconds(0));
            wait = {.tv_sec = left.count() / 1'000'000'000, .tv_nsec = left.count() % 1'000'000'000};
        }
        const int ready = ::ppoll(pipes.data(), pipes.size(), &wait, nullptr);
        if (next != nullptr && Clock::now() >= *next->dies_at()) {
            next->kill(reports);
        } else if (ready == 0) {
            ADD_FAILURE() << "no answer within 30 s";
            for (const auto& victim : victims) {
                if (victim->is_alive()) victim->kill(reports);
            }
        }
        for (std::size_t i = 0; i < victims.size() && ready > 0; ++i) {
            if (!victims[i]->is_alive() || pipes[i].revents == 0) continue;
            if (!victims[i]->read_into(reports)) victims[i]->kill(reports);  // the process has ended by itself
        }
    }
    return reports;
}

// Returns a random time of up to 100 ms. Half of the times are evenly distributed. The other half is distributed evenly
// over the orders of magnitude from 3 µs on.
nanoseconds random_life(std::mt19937_64& random) {
    constexpr double kShortest = 3e3;
    constexpr double kLongest = 1e8;
    std::uniform_real_distribution<double> any(0, kLongest);
    std::uniform_real_distribution<double> exponent(std::log(kShortest), std::log(kLongest));
    return nanoseconds(static_cast<std::int64_t>(random() % 2 == 0 ? any(random) : std::exp(exponent(random))));
}

// Says whether there is another round.
class Budget {
public:
    explicit Budget(std::uint64_t rounds) : rounds_(rounds) {
        if (const char* seconds = std::getenv("CAIRN_SOAK_SECONDS"); seconds != nullptr) {
            until_ = Clock::now() + std::chrono::seconds(std::strtoll(seconds, nullptr, 10));
        }
    }
    bool goes_on(const KillFigures& figures) const {
        if (testing::Test::HasFailure()) return false;
        return until_ ? Clock::now() < *until_ : figures.rounds < rounds_;
    }

private:
    std::uint64_t rounds_;
    std::optional<Clock::time_point> until_;
};

// Runs the rounds. `start(url, round, random)` starts a round's processes.
template <class Start>
KillFigures kill_over_and_over(std::uint64_t rounds, bool is_shared, Start start) {
    const std::uint64_t first_seed = seed();
    SCOPED_TRACE(replay_line(first_seed));
    fmt::print("seed {}\n", first_seed);
    std::mt19937_64 random(first_seed);
    KillFigures figures;
    const Budget budget(rounds);
    while (budget.goes_on(figures)) {
        const TempDir dir;
        const std::string url = dir.sqlite_url();
        Witness witness(url, is_shared);
        for (int round = 0; round < kRoundsPerFile && budget.goes_on(figures); ++round) {
            SCOPED_TRACE(fmt::format("round {} of its file, {} in all", round, figures.rounds));
            const std::vector<Report> reports = watch_die(start(url, round, random));
            witness.examine(reports, figures);
        }
        if (!testing::Test::HasFailure()) witness.examine_all(figures);
    }
    fmt::print("{}\n", figures.to_string());
    return figures;
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kSlowness = 10;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
constexpr std::uint64_t kSlowness = 10;
#else
constexpr std::uint64_t kSlowness = 1;
#endif
#else
constexpr std::uint64_t kSlowness = 1;
#endif

TEST(Kill, AnswersToAKilledProcessAreTrue) {
    const KillFigures figures =
        kill_over_and_over(220 / kSlowness, false, [](const auto& url, int round, auto& random) {
            Victims victims;
            const BusySaver saver{.url = url, .process = round, .seed = random()};
            victims.push_back(std::make_unique<Victim>([&](int reports) { return saver.save_until_killed(reports); },
                                                       random_life(random)));
            return victims;
        });
    for (const auto& [durability, of] : figures.saves) EXPECT_GT(of.hardened, 0U) << to_string(durability);
    EXPECT_EQ(figures.saves.size(), 3U) << "not every durability was tried";
    EXPECT_GT(figures.deduplicated, 0U);
    EXPECT_GT(figures.critical, 0U);
    EXPECT_GT(figures.refused, 0U);
    EXPECT_GT(figures.flushes, 0U);
}

TEST(Kill, AnswersToSeveralKilledProcessesOfOneFileAreTrue) {
    const KillFigures figures = kill_over_and_over(60 / kSlowness, true, [](const auto& url, int round, auto& random) {
        Victims victims;
        const auto savers = static_cast<std::int32_t>(2 + random() % 3);
        for (std::int32_t i = 0; i < savers; ++i) {
            const BusySaver saver{
                .url = url, .process = round * kProcessesMax + i, .seed = random(), .shares_runs = true, .threads = 4};
            victims.push_back(std::make_unique<Victim>([&](int reports) { return saver.save_until_killed(reports); },
                                                       random_life(random)));
        }
        victims.push_back(std::make_unique<Victim>(
            [&, pruner_seed = random()](int reports) { return prune_until_killed(url, pruner_seed, reports); },
            random_life(random)));
        victims.back()->start_counting();
        return victims;
    });
    EXPECT_GT(figures.saves.at(Durability::kSync).hardened, 0U);
}

}  // namespace
}  // namespace cairn::test
