// Measures the gain from committing together for many agents on one store, and its cost for a lone one:
//   cairn_concurrency_bench throughput   64 threads with a run each, against one thread, and against a bare loop that
//                                        appends the same frames and syncs once per batch
//   cairn_concurrency_bench latency      a lone `sync` save against one that goes to the store directly; the caller's
//                                        time of an `async` save of 100 kB, changed and unchanged
//   cairn_concurrency_bench fairness     the effect of one run that saves as fast as it can on 63 polite ones
//   cairn_concurrency_bench memory       a million saves of small states over 10,000 runs: the peak of memory
// Without an argument, it runs the first three. The stores are made in the working folder.

#include "bench_store.h"
#include "in_turn.h"
#include "persistence/service_core.h"
#include "replay/trajectory.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <latch>
#include <limits>
#include <mutex>
#include <random>
#include <thread>

namespace {

using namespace cairn;
using namespace cairn::bench;
using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kRuns = 64;
constexpr int kRounds = 5;

/// Conversations with tools, one after the other: whole states of 13 kB on average, one message longer at each step.
struct Conversations {
    std::string source;
    std::vector<std::vector<State>> runs;
};

const Conversations& conversations() {
    static const Conversations kConversations = [] {
        Conversations found{.source = states_source(), .runs = {}};
        for (const std::filesystem::path& file : trajectory_files()) {
            if (file.stem() != "tau_bench_airline") continue;
            found.source = file.stem();
            for (const TrajectoryRun& run : must(expand_trajectories({file}))) {
                std::vector<State>& states = found.runs.emplace_back();
                for (const TrajectoryStep& step : run.steps) states.push_back(step.state);
            }
        }
        if (found.runs.empty()) found.runs.push_back(mixed_sizes().states);
        return found;
    }();
    return kConversations;
}

double percentile(std::vector<double> values, double fraction) {
    if (values.empty()) return 0;
    const auto place = values.begin() + static_cast<std::ptrdiff_t>(fraction * static_cast<double>(values.size() - 1));
    std::ranges::nth_element(values, place);
    return *place;
}

/// Records how many frames and bytes each transaction had.
class NotedStore final : public ForwardingStore {
public:
    struct Commit {
        std::size_t saves = 0;
        std::size_t bytes = 0;
    };
    using ForwardingStore::ForwardingStore;

    Result<std::vector<Status>> commit(std::span<const RunBatch> batches, Deadline deadline) override {
        Commit noted;
        for (const RunBatch& batch : batches) {
            noted.saves += batch.writes.size();
            for (const SnapshotWrite& write : batch.writes) noted.bytes += write.snapshot.frame.size();
        }
        const std::lock_guard lock(mutex_);  // the store commits one batch at a time anyway
        commits_.push_back(noted);
        return next().commit(batches, deadline);
    }
    std::vector<Commit> take() {
        const std::lock_guard lock(mutex_);
        return std::exchange(commits_, {});
    }

private:
    std::mutex mutex_;
    std::vector<Commit> commits_;
};

/// An agent that has one conversation after the other. Each is a run of its own unless one run is given.
class Agent {
public:
    explicit Agent(std::size_t number, std::optional<std::string> run_id = {})
        : number_(number), run_id_(std::move(run_id)) {}

    StatePersistenceRequest next() {
        const auto& runs = conversations().runs;
        const std::vector<State>& states = runs[(number_ + 7 * conversation_) % runs.size()];
        const State& state = states[step_];
        StatePersistenceRequest request =
            request_for(run_id_ ? *run_id_ : fmt::format("agent-{}-{}", number_, conversation_), state);
        if (++step_ == states.size()) {
            step_ = 0;
            ++conversation_;
        }
        return request;
    }

private:
    std::size_t number_;
    std::optional<std::string> run_id_;
    std::size_t conversation_ = 0;
    std::size_t step_ = 0;
};

std::vector<Agent> agents(std::size_t count) {
    std::vector<Agent> made;
    for (std::size_t number = 0; number < count; ++number) made.emplace_back(number);
    return made;
}

double run_threads(std::size_t threads_count, const std::function<void(std::size_t)>& work) {
    std::latch ready(static_cast<std::ptrdiff_t>(threads_count) + 1);
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < threads_count; ++thread) {
        threads.emplace_back([&, thread] {
            ready.arrive_and_wait();
            work(thread);
        });
    }
    ready.arrive_and_wait();
    return seconds_of([&] { threads.clear(); });
}

// --- throughput ---

double append_and_sync(const std::filesystem::path& path, const std::vector<NotedStore::Commit>& commits) {
    const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    std::string bytes;
    const double seconds = seconds_of([&] {
        for (const NotedStore::Commit& commit : commits) {
            bytes.assign(commit.bytes, 'x');
            if (::write(file, bytes.data(), bytes.size()) < 0 || ::fdatasync(file) != 0) std::perror("append");
        }
    });
    ::close(file);
    return seconds;
}

struct Throughput {
    std::vector<double> alone, together, bare, batch_saves, frame_bytes;

    void measure() {
        constexpr std::size_t kSteps = 240;
        const ScratchFolder folder;
        const auto store = std::make_shared<NotedStore>(folder.open_store());
        OptimizedStatePersistence service(store);
        std::vector<Agent> all = agents(kRuns);
        const double alone_s = seconds_of([&] {
            for (std::size_t step = 0; step < kSteps / 4; ++step) {
                for (Agent& agent : all) must(service.save_agent_state(agent.next()));
            }
        });
        static_cast<void>(store->take());
        const double together_s = run_threads(kRuns, [&](std::size_t number) {
            for (std::size_t step = 0; step < kSteps; ++step) must(service.save_agent_state(all[number].next()));
        });
        const std::vector<NotedStore::Commit> commits = store->take();
        const double bare_s = append_and_sync(folder / "bare", commits);

        double saves = 0;
        double bytes = 0;
        for (const NotedStore::Commit& commit : commits) {
            saves += static_cast<double>(commit.saves);
            bytes += static_cast<double>(commit.bytes);
        }
        alone.push_back(static_cast<double>(kRuns * kSteps / 4) / alone_s);
        together.push_back(static_cast<double>(kRuns * kSteps) / together_s);
        bare.push_back(saves / bare_s);
        batch_saves.push_back(saves / static_cast<double>(commits.size()));
        frame_bytes.push_back(bytes / saves);
    }
};

void measure_throughput() {
    Throughput figures;
    for (int round = 0; round < kRounds; ++round) figures.measure();
    const double together = median_of(figures.together);
    fmt::print("throughput, sync, {} runs ({}), saves/s, medians of {} rounds\n", kRuns, conversations().source,
               kRounds);
    fmt::print("  1 thread    {:8.0f}\n", median_of(figures.alone));
    fmt::print("  {} threads  {:8.0f}   {:.1f} saves a batch, {:.0f} bytes a frame\n", kRuns, together,
               median_of(figures.batch_saves), median_of(figures.frame_bytes));
    fmt::print("  bare append and fdatasync, a batch each {:.0f}\n", median_of(figures.bare));
    fmt::print("  {} threads to 1: {:.1f} times (limit 8); to bare: {:.0f} % (limit 15, aim 30)\n", kRuns,
               together / median_of(figures.alone), 100 * together / median_of(figures.bare));
}

// --- latency ---

/// A save as it would be without a queue: read the head, encode, commit.
class DirectSaves {
public:
    explicit DirectSaves(std::shared_ptr<Store> store) : core_(std::move(store), {}) {}

    void save(const StatePersistenceRequest& request) {
        const auto head = must(core_.store->head(request.run_id, core_.deadline({})));
        if (!head) base_.reset();
        EncodedState encoded =
            must(base_ ? encode_against(*base_, request.state_data, {}, {}) : encode_full(request.state_data, {}));
        const ChainCost chain = encoded.chain;
        const Checksum checksum = encoded.checksum;
        const Receipt receipt = must(core_.writer->write(
            request,
            SnapshotWriter::prepare(request, core_.snapshot_id(request), core_.options.runtime.clock->now(),
                                    std::move(encoded), head ? head->version : 0, {}),
            core_.deadline({})));
        base_ = DeltaBase{.state = request.state_data,
                          .version = receipt.version,
                          .snapshot_id = receipt.snapshot_id,
                          .checksum = checksum,
                          .chain = chain};
    }

private:
    ServiceCore core_;
    std::optional<DeltaBase> base_;
};

void measure_lone_save() {
    constexpr std::size_t kSaves = 1'000;
    const ScratchFolder ours;
    const ScratchFolder direct;
    OptimizedStatePersistence service(ours.open_store());
    DirectSaves direct_saves(direct.open_store());
    std::vector<double> ours_us;
    std::vector<double> direct_us;
    Agent agent(0);
    for (std::size_t step = 0; step < kSaves; ++step) {
        const StatePersistenceRequest request = agent.next();
        const auto save_ours = [&] {
            ours_us.push_back(1e6 * seconds_of([&] { must(service.save_agent_state(request)); }));
        };
        if (step % 2 == 0) save_ours();
        direct_us.push_back(1e6 * seconds_of([&] { direct_saves.save(request); }));
        if (step % 2 != 0) save_ours();
    }
    fmt::print("latency, one thread, sync: p50 {:.0f} us; without a queue {:.0f} us: {:.2f} times (limit 1.2)\n",
               median_of(ours_us), median_of(direct_us), median_of(ours_us) / median_of(direct_us));
}

/// A conversation of about `bytes` bytes, one message longer than the one before.
State conversation(std::size_t bytes, std::size_t turn) {
    std::string text = R"({"messages":[)";
    std::mt19937_64 random(1);
    while (text.size() < bytes) {
        text += fmt::format(R"({{"role":"assistant","content":"step {} found {:x} and {:x}"}},)", text.size(), random(),
                            random());
    }
    return must(State::parse(text + fmt::format(R"({{"turn":{}}}]}})", turn)));
}

void measure_async_callers() {
    constexpr std::size_t kSaves = 400;
    const ScratchFolder folder;
    OptimizedStatePersistence service(folder.open_store(), {.durability = Durability::kAsync});
    std::vector<double> changed_us;
    std::vector<double> unchanged_us;
    for (std::size_t turn = 0; turn < kSaves; ++turn) {
        const StatePersistenceRequest request = request_for("run", conversation(100'000, turn));
        const StatePersistenceRequest again = request_for("run", conversation(100'000, turn));
        changed_us.push_back(1e6 * seconds_of([&] { must(service.save_agent_state(request)); }));
        if (turn % 2 == 0) must(service.flush("run"));  // found on disk, or still in flight
        unchanged_us.push_back(1e6 * seconds_of([&] { must(service.save_agent_state(again)); }));
        must(service.flush("run"));
    }
    fmt::print(
        "latency, one thread, async, 100 kB: changed p50 {:.0f} us (limit 300), unchanged p50 {:.0f} us "
        "(limit 100)\n",
        median_of(changed_us), median_of(unchanged_us));
}

// --- fairness ---

/// Returns how long 63 runs wait that save now and then, beside one run that saves as fast as it can with `greedy` (if
/// any): the p99 in milliseconds.
double polite_p99(std::optional<Durability> greedy) {
    constexpr std::size_t kPolite = 63;
    constexpr std::size_t kSaves = 60;
    constexpr std::chrono::milliseconds kPause{20};
    const ScratchFolder folder;
    OptimizedStatePersistence service(folder.open_store());
    std::atomic<bool> is_over = false;
    std::jthread busy([&] {
        Agent agent(0, "greedy");
        while (greedy && !is_over) {
            StatePersistenceRequest request = agent.next();
            request.durability = greedy;
            must(service.save_agent_state(request));
        }
    });
    std::mutex mutex;
    std::vector<double> all_ms;
    run_threads(kPolite, [&](std::size_t thread) {
        std::vector<double> own_ms;
        std::this_thread::sleep_for(kPause * thread / kPolite);
        Agent agent(1 + thread);
        for (std::size_t step = 0; step < kSaves; ++step) {
            const StatePersistenceRequest request = agent.next();
            own_ms.push_back(1e3 * seconds_of([&] { must(service.save_agent_state(request)); }));
            std::this_thread::sleep_for(kPause);
        }
        const std::lock_guard lock(mutex);
        all_ms.insert(all_ms.end(), own_ms.begin(), own_ms.end());
    });
    is_over = true;
    return percentile(std::move(all_ms), 0.99);
}

void measure_fairness() {
    std::vector<double> alone;
    std::vector<double> beside_sync;
    std::vector<double> beside_async;
    for (int round = 0; round < kRounds; ++round) {
        alone.push_back(polite_p99({}));
        beside_sync.push_back(polite_p99(Durability::kSync));
        beside_async.push_back(polite_p99(Durability::kAsync));
    }
    const double usual = median_of(alone);
    fmt::print(
        "fairness: p99 of 63 polite runs {:.2f} ms; beside a greedy one, sync {:.2f} ms ({:.1f} times), async "
        "{:.2f} ms ({:.1f} times); limit 3 times\n",
        usual, median_of(beside_sync), median_of(beside_sync) / usual, median_of(beside_async),
        median_of(beside_async) / usual);
}

// --- memory ---

double peak_rss_mb() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1024;
}

void measure_memory() {
    constexpr std::size_t kSaves = 1'000'000;
    constexpr std::size_t kManyRuns = 10'000;
    constexpr std::size_t kThreads = 16;
    constexpr std::size_t kBudget = 256U << 20U;
    const ScratchFolder folder;
    OptimizedStatePersistence service(folder.open_store(), {.durability = Durability::kAsync,
                                                            .queue_limits = {.bytes_max = kBudget / 4},
                                                            .cache_max_size = kManyRuns,
                                                            .cache_max_bytes = kBudget / 4 * 3});
    const double before = peak_rss_mb();
    const double seconds = run_threads(kThreads, [&](std::size_t thread) {
        for (std::size_t save = thread; save < kSaves; save += kThreads) {
            const std::size_t step = save / kManyRuns;
            must(service.save_agent_state(request_for(
                run_of(save % kManyRuns),
                must(State::parse(fmt::format(R"({{"step":{},"task":"look at file {}","notes":["{:0>400}"]}})", step,
                                              save, save))))));
        }
    });
    must(service.flush_all(std::chrono::minutes(5)));
    fmt::print(
        "memory: {} saves over {} runs in {:.0f} s ({:.0f}/s): peak RSS {:.0f} MB ({:.0f} MB before); limit 512 "
        "MB\n",
        kSaves, kManyRuns, seconds, kSaves / seconds, peak_rss_mb(), before);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc > 1 ? argv[1] : "";
    const auto is_asked_for = [&](std::string_view name, bool by_default) {
        return what == name || (what.empty() && by_default);
    };
    if (is_asked_for("throughput", true)) measure_throughput();
    if (is_asked_for("latency", true)) {
        measure_lone_save();
        measure_async_callers();
    }
    if (is_asked_for("fairness", true)) measure_fairness();
    if (is_asked_for("memory", false)) measure_memory();
}
