#include "replay/replay.h"

#include "state/state_equality.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <optional>
#include <thread>
#include <utility>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;

double microseconds_since(SteadyClock::time_point begin) {
    return std::chrono::duration<double, std::micro>(SteadyClock::now() - begin).count();
}

struct Save {
    Result<Receipt> receipt;
    double microseconds = 0;
};

struct Load {
    double microseconds = 0;
    std::optional<Error> error = {};  ///< Set if it did not load, or loaded as a different state.
};

/// The results of one run. Only the thread that replays the run writes them, so nothing is shared during measurement.
struct Ledger {
    std::vector<Save> saves;  ///< One a step.
    std::vector<Load> loads;
};

/// Calls `work(index)` for every index below `count`, on `threads` threads; stops early if interrupted.
template <class Work>
void share_out(std::size_t count, unsigned threads, TaskWatcher& watcher, const Work& work) {
    std::atomic<std::size_t> next = 0;
    const auto worker = [&] {
        for (std::size_t index = next++; index < count && !watcher.must_stop(); index = next++) work(index);
    };
    std::vector<std::jthread> others;
    for (unsigned started = 1; started < threads; ++started) others.emplace_back(worker);
    worker();
}

void save_run(const TrajectoryRun& run, StatePersistence& service, Ledger& ledger, TaskWatcher& watcher) {
    for (const TrajectoryStep& step : run.steps) {
        if (watcher.must_stop()) return;
        const StatePersistenceRequest request = request_of(run, step);
        const SteadyClock::time_point begin = SteadyClock::now();
        Result<Receipt> receipt = service.save_agent_state(request);
        ledger.saves.push_back({std::move(receipt), microseconds_since(begin)});
        watcher.advance();
    }
}

/// True if the texts are the same byte for byte. Only a save that shares a snapshot (deduplicated, or queued as a
/// duplicate) may differ in key order, if that was asked for.
bool is_what_was_saved(const State& loaded, const State& saved, Outcome outcome, bool ignores_key_order) {
    const bool may_share = outcome == Outcome::kDeduplicated || outcome == Outcome::kQueued;
    if (loaded == saved) return true;
    const bool are_json = !loaded.is_opaque() && !saved.is_opaque();
    return ignores_key_order && may_share && are_json && json_equal(loaded.text(), saved.text());
}

Load load_step(const TrajectoryRun& run, const TrajectoryStep& step, const Receipt& receipt, StatePersistence& service,
               bool ignores_key_order) {
    const LoadRequest request{
        .run_id = run.run_id, .snapshot_id = receipt.snapshot_id, .thread_id = run.thread_id, .user_id = run.user_id};
    const SteadyClock::time_point begin = SteadyClock::now();
    const Result<LoadedState> loaded = service.load_agent_state(request);
    Load load{.microseconds = microseconds_since(begin)};
    if (!loaded) {
        load.error = loaded.error();
    } else if (!is_what_was_saved(loaded->state, step.state, receipt.outcome, ignores_key_order)) {
        load.error = Error{ErrorCode::kCorrupt, fmt::format("snapshot {} of run {} loads another state than was saved",
                                                            receipt.snapshot_id, run.run_id)};
    }
    return load;
}

void verify_run(const TrajectoryRun& run, StatePersistence& service, bool ignores_key_order, Ledger& ledger,
                TaskWatcher& watcher) {
    for (std::size_t index = 0; index < run.steps.size(); ++index) {
        const Result<Receipt>& receipt = ledger.saves[index].receipt;
        if (watcher.must_stop()) return;
        if (receipt) ledger.loads.push_back(load_step(run, run.steps[index], *receipt, service, ignores_key_order));
        watcher.advance();
    }
}

/// Times a load of the run's head from the store: by its id, since the newest state may be cached.
void load_head(const TrajectoryRun& run, StatePersistence& service, Ledger& ledger) {
    LoadRequest request{.run_id = run.run_id};
    if (!ledger.saves.empty() && ledger.saves.back().receipt) {
        request.snapshot_id = ledger.saves.back().receipt->snapshot_id;
    }
    const SteadyClock::time_point begin = SteadyClock::now();
    const Result<LoadedState> loaded = service.load_agent_state(request);
    Load load{.microseconds = microseconds_since(begin)};
    if (!loaded) load.error = loaded.error();
    ledger.loads.push_back(std::move(load));
}

std::unexpected<Error> interrupted_replay_error() {
    return fail(ErrorCode::kUnavailable, "the replay was interrupted");
}

std::vector<Ledger> empty_ledgers(const std::vector<TrajectoryRun>& runs) {
    std::vector<Ledger> ledgers(runs.size());
    for (std::size_t index = 0; index < runs.size(); ++index) ledgers[index].saves.reserve(runs[index].steps.size());
    return ledgers;
}

void count_given(const std::vector<TrajectoryRun>& runs, ReplayFigures& figures) {
    figures.runs = runs.size();
    for (const TrajectoryRun& run : runs) {
        figures.saves += run.steps.size();
        for (const TrajectoryStep& step : run.steps) {
            figures.state_bytes += step.state.size_bytes();
            if (step.checkpoint_type.is_critical()) ++figures.critical;
        }
    }
}

void count_outcome(const Receipt& receipt, ReplayFigures& figures) {
    figures.payload_bytes += receipt.frame_bytes;
    // Queued saves are on disk by now.
    if (receipt.outcome == Outcome::kPersisted || receipt.outcome == Outcome::kQueued) ++figures.persisted;
    if (receipt.outcome == Outcome::kDeduplicated) ++figures.deduplicated;
    if (receipt.outcome == Outcome::kFallback) ++figures.fallbacks;
}

void count_saves(const std::vector<Ledger>& ledgers, ReplayFigures& figures) {
    std::vector<double> writes;
    std::vector<double> skips;
    for (const Ledger& ledger : ledgers) {
        for (const Save& save : ledger.saves) {
            if (!save.receipt) {
                ++figures.failed;
                figures.errors.push_back(save.receipt.error());
                continue;
            }
            count_outcome(*save.receipt, figures);
            (save.receipt->outcome == Outcome::kDeduplicated ? skips : writes).push_back(save.microseconds);
        }
    }
    figures.save_us = quantiles_of(std::move(writes));
    figures.skip_us = quantiles_of(std::move(skips));
}

void count_loads(const std::vector<Ledger>& ledgers, bool verify, ReplayFigures& figures) {
    std::vector<double> loads;
    for (const Ledger& ledger : ledgers) {
        for (const Load& load : ledger.loads) {
            loads.push_back(load.microseconds);
            if (load.error) {
                ++figures.mismatches;
                figures.errors.push_back(*load.error);
            } else if (verify) {
                ++figures.verified;
            }
        }
    }
    figures.load_us = quantiles_of(std::move(loads));
}

}  // namespace

Quantiles quantiles_of(std::vector<double> microseconds) {
    if (microseconds.empty()) return {};
    std::ranges::sort(microseconds);
    const auto at = [&](double share) {  // nearest rank
        const double rank = std::ceil(share * static_cast<double>(microseconds.size()));
        return microseconds[static_cast<std::size_t>(rank) - 1];
    };
    return {.p50 = at(0.50), .p99 = at(0.99)};
}

Result<ReplayFigures> replay(const std::vector<TrajectoryRun>& runs, StatePersistence& service, Store& store,
                             const ReplayOptions& options, TaskWatcher& watcher) {
    ReplayFigures figures;
    count_given(runs, figures);
    std::vector<Ledger> ledgers = empty_ledgers(runs);

    {
        watcher.begin("Saving", figures.saves);
        const SteadyClock::time_point begin = SteadyClock::now();
        share_out(runs.size(), options.concurrency, watcher,
                  [&](std::size_t index) { save_run(runs[index], service, ledgers[index], watcher); });
        if (Status status = service.flush_all(); !status) return std::unexpected(std::move(status.error()));
        figures.elapsed_s = microseconds_since(begin) / 1e6;
    }
    if (watcher.must_stop()) return interrupted_replay_error();
    const Result<StoreStats> stats = store.stats(Deadline::max());
    if (!stats) return std::unexpected(stats.error());
    figures.store_bytes = stats->store_bytes;

    {
        watcher.begin(options.verify ? "Verifying" : "Loading", options.verify ? figures.saves : figures.runs);
        share_out(runs.size(), options.concurrency, watcher, [&](std::size_t index) {
            if (options.verify) {
                return verify_run(runs[index], service, options.ignores_key_order, ledgers[index], watcher);
            }
            load_head(runs[index], service, ledgers[index]);
            watcher.advance();
        });
    }
    if (watcher.must_stop()) return interrupted_replay_error();
    count_saves(ledgers, figures);
    count_loads(ledgers, options.verify, figures);
    return figures;
}

}  // namespace cairn
