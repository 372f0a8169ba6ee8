#include "fault/kill/busy_saver.h"

#include "support/make.h"

#include <cairn/retention.h>
#include <cairn/store.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

namespace cairn::test {
namespace {

// The data that the threads of the process share.
struct Workplace {
    OptimizedStatePersistence& service;
    const BusySaver& saver;
    const int reports;
    std::atomic<std::uint64_t> events = 1;

    std::uint64_t now() { return events.fetch_add(1); }
    void send(Report report) {
        report.process = saver.process;
        report.ended = now();
        if (::write(reports, &report, sizeof report) != sizeof report) std::_Exit(99);  // nobody listens any more
    }
};

void answer(Workplace& place, Report report, const Result<Receipt>& receipt) {
    if (!receipt) {
        report.kind = Report::Kind::kUnexpected;
        report.message = ShortText<160>(receipt.error().to_string());
    } else {
        report.outcome = receipt->outcome;
        report.durability = receipt->durability;
        report.version = receipt->version;
        report.snapshot_id = ShortText<64>(receipt->snapshot_id);
    }
    place.send(report);
}

class SavingThread {
public:
    SavingThread(Workplace& place, std::int32_t thread)
        : place_(place), thread_(thread), random_(place.saver.seed * 64 + static_cast<std::uint64_t>(thread)) {
        const auto own = [&](std::string_view name, std::int32_t number) {
            runs_.push_back(
                {.id = fmt::format("{}-{}-{}", name, place.saver.shares_runs ? place.saver.process % kProcessesMax : 0,
                                   number)});
        };
        own("own", thread);
        if (thread % 2 == 0) own("own", thread + 100);
        for (int shared = 0; shared < 8; ++shared) runs_.push_back({.id = fmt::format("shared-{}", shared)});
        if (!place.saver.shares_runs) return;
        runs_.push_back({.id = fmt::format("pruned-{}", thread % 3)});
        runs_.push_back({.id = fmt::format("doomed-{}", thread % 2)});
    }

    void run() {
        while (true) {
            Run& target = runs_[random_() % runs_.size()];
            const auto choice = random_() % 100;
            if (choice < 91) {
                save(target);
            } else if (choice < 94) {
                save_what_is_refused(target);
            } else if (choice < 97) {
                wait(Report::Kind::kRunOnDisk, target.id, [&] { return place_.service.flush(target.id); });
            } else if (choice < 98) {
                wait(Report::Kind::kAllOnDisk, target.id, [&] { return place_.service.flush_all(); });
            } else if (target.last_step > 0 && !is_doomed(target.id)) {
                wait(Report::Kind::kRunOnDisk, target.id, [&]() -> Status {
                    auto loaded = place_.service.load_agent_state({.run_id = target.id});
                    return loaded ? Status{} : std::unexpected(loaded.error());
                });
            }
        }
    }

private:
    struct Run {
        std::string id;
        std::int64_t last_step = 0;
        std::string last_id = {};  // a fork may grow from it
    };

    bool chance(unsigned percent) { return random_() % 100 < percent; }

    std::pair<StatePersistenceRequest, Report> prepare(Run& run) {
        Report report;
        report.thread = thread_;
        report.call = ++calls_;
        const bool is_repetition = run.last_step > 0 && chance(20);
        report.step = is_repetition ? run.last_step : calls_;
        report.run = ShortText<24>(run.id);
        StatePersistenceRequest request;
        request.run_id = run.id;
        request.thread_id = "thread";
        request.user_id = "user";
        request.state_data = state_of(run.id, place_.saver.process, thread_, report.step);
        report.state_bytes = request.state_data.size_bytes();
        report.checksum = request.state_data.checksum();
        return {std::move(request), report};
    }

    void save(Run& run) {
        auto [request, report] = prepare(run);
        constexpr Durability kDurabilities[] = {Durability::kSync, Durability::kAsync, Durability::kAsync,
                                                Durability::kExit};
        if (chance(80)) request.durability = kDurabilities[random_() % 4];
        if (chance(4)) request.checkpoint_type = CheckpointType::kManual;
        if (chance(2)) request.is_recovery_point = true;
        if (chance(30)) request.snapshot_id = fmt::format("p{}-t{}-c{}", place_.saver.process, thread_, report.call);
        if (chance(10)) request.metadata = State::parse(metadata_text(report.step)).value();
        if (chance(6) && !run.last_id.empty() && !is_pruned(run.id) && !is_doomed(run.id)) {
            request.parent_snapshot_id = run.last_id;
            report.parent_id = ShortText<64>(run.last_id);
        }
        report.is_critical = request.is_critical();
        report.has_metadata = request.metadata.has_value();
        run.last_step = report.step;
        report.begun = place_.now();
        if (chance(25)) {
            place_.service.save_async(request, [&place = place_, about = report](const Result<Receipt>& receipt) {
                answer(place, about, receipt);
            });
            return;
        }
        const Result<Receipt> receipt = place_.service.save_agent_state(request);
        if (receipt) run.last_id = receipt->snapshot_id;
        answer(place_, report, receipt);
    }

    // Makes a save that must be refused. It goes into the batches of other saves, and must not be stored.
    void save_what_is_refused(Run& run) {
        auto [request, report] = prepare(run);
        if (report.step != report.call) return;  // a state that nobody else saves
        request.durability = Durability::kSync;
        request.on_conflict = OnConflict::kFail;
        request.expected_version = 1'000'000'000;
        report.begun = place_.now();
        const Result<Receipt> receipt = place_.service.save_agent_state(request);
        const bool is_refused = !receipt && receipt.error().code == ErrorCode::kConflict;
        report.kind = is_refused ? Report::Kind::kRefused : Report::Kind::kUnexpected;
        if (!is_refused) report.message = ShortText<160>(receipt ? "saved" : receipt.error().to_string());
        place_.send(report);
    }

    template <class Wait>
    void wait(Report::Kind kind, const std::string& run, Wait wait_until_on_disk) {
        Report report;
        report.kind = kind;
        report.thread = thread_;
        report.run = ShortText<24>(run);
        report.begun = place_.now();
        const Status status = wait_until_on_disk();
        if (!status) {
            report.kind = Report::Kind::kUnexpected;
            report.message = ShortText<160>(status.error().to_string());
        }
        place_.send(report);
    }

    Workplace& place_;
    const std::int32_t thread_;
    std::mt19937_64 random_;
    std::vector<Run> runs_;
    std::int64_t calls_ = 0;
};

OptimizedOptions options_of(const BusySaver& saver) {
    std::mt19937_64 random(saver.seed);
    OptimizedOptions options;
    options.durability = random() % 2 == 0 ? Durability::kSync : Durability::kAsync;
    options.queue_limits.saves_max = random() % 2 == 0 ? BusySaver::kQueuedSavesMax : BusySaver::kQueuedSavesMax / 8;
    options.queue_limits.bytes_max = BusySaver::kQueuedBytesMax;
    options.batch_limits.saves_max = random() % 2 == 0 ? 256 : 8;
    options.chain_limits.frames_max = random() % 2 == 0 ? 24 : 5;
    if (random() % 4 == 0) options.cache_max_size = 3;
    return options;
}

}  // namespace

int BusySaver::save_until_killed(int reports) const {
    const auto store = open_store(url);
    if (!store) {
        fmt::print(stderr, "{}\n", store.error().to_string());
        return 1;
    }
    OptimizedStatePersistence service(*store, options_of(*this));
    Workplace place{.service = service, .saver = *this, .reports = reports};
    std::vector<std::jthread> working;
    for (std::int32_t thread = 0; thread < threads; ++thread) {
        working.emplace_back([&place, thread] { SavingThread(place, thread).run(); });
    }
    return 0;  // never reached: the threads do not end
}

int prune_until_killed(const std::string& url, std::uint64_t seed, int reports) {
    const auto store = open_store(url);
    if (!store) return 1;
    std::mt19937_64 random(seed);
    Report report;
    report.process = -1;
    const auto refuse = [&](const Error& error) {
        report.kind = Report::Kind::kUnexpected;
        report.message = ShortText<160>(error.to_string());
        return ::write(reports, &report, sizeof report) == sizeof report ? 1 : 2;
    };
    while (true) {
        const auto pruned =
            prune(**store, {.keep_last = kKeptVersions, .run_id = fmt::format("pruned-{}", random() % 3)},
                  {.snapshots_per_commit = 1 + random() % 8});
        if (!pruned && pruned.error().code != ErrorCode::kNotFound) return refuse(pruned.error());
        const auto deleted = delete_runs(**store, {.run_id = fmt::format("doomed-{}", random() % 2)});
        if (!deleted && deleted.error().code != ErrorCode::kNotFound) return refuse(deleted.error());
        std::this_thread::sleep_for(
            std::chrono::microseconds(random() % 4000));  // otherwise the savers hardly get a turn
    }
}

}  // namespace cairn::test
