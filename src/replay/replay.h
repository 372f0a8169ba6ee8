#pragma once

#include "base/task_watcher.h"
#include "replay/trajectory.h"

#include <cairn/persistence.h>
#include <cairn/store.h>

#include <cstdint>
#include <string>
#include <vector>

namespace cairn {

struct ReplayOptions {
    unsigned concurrency = 1;        ///< Threads; whole runs are divided among them.
    bool verify = false;             ///< Load every snapshot back, instead of every run's head.
    bool ignores_key_order = false;  ///< The service treats states as equal that differ only in the order of keys.
};

/// Exact quantiles of one kind of call, in microseconds; 0 if there was none.
struct Quantiles {
    double p50 = 0;
    double p99 = 0;
};
Quantiles quantiles_of(std::vector<double> microseconds);

/// The results and times of one replay.
struct ReplayFigures {
    std::string mode;
    std::string store;
    std::uint64_t runs = 0;
    std::uint64_t saves = 0;
    std::uint64_t persisted = 0;
    std::uint64_t deduplicated = 0;
    std::uint64_t critical = 0;  ///< Critical steps, however they were saved.
    std::uint64_t fallbacks = 0;
    std::uint64_t failed = 0;
    std::uint64_t state_bytes = 0;    ///< Normal texts of all states passed to save.
    std::uint64_t payload_bytes = 0;  ///< Frames stored by this replay.
    std::uint64_t store_bytes = 0;    ///< Everything that the store has on disk afterwards.
    double elapsed_s = 0;             ///< Only the saving.
    Quantiles save_us;                ///< Saves that wrote.
    Quantiles skip_us;                ///< Saves that were deduplicated.
    Quantiles load_us;
    std::uint64_t verified = 0;
    std::uint64_t mismatches = 0;  ///< Snapshots that did not load, or loaded as a different state.
    std::vector<Error> errors;     ///< Of failed saves, then of loads, in the order of runs and steps.

    double saves_per_s() const { return elapsed_s > 0 ? static_cast<double>(saves) / elapsed_s : 0; }
    double state_mb_per_s() const { return elapsed_s > 0 ? static_cast<double>(state_bytes) / 1e6 / elapsed_s : 0; }
};

/// Saves every step of `runs` through `service`, each run in its order, then loads from it. A failed save or load is
/// counted and the replay goes on.
/// Errors: those of `Store::stats`; kUnavailable (`watcher` has stopped it).
[[nodiscard]] Result<ReplayFigures> replay(const std::vector<TrajectoryRun>& runs, StatePersistence& service,
                                           Store& store, const ReplayOptions& options, TaskWatcher& watcher);

}  // namespace cairn
