#pragma once

// Saves the progress of a run.

#include "pipeline/run/run_progress.h"

#include <cairn/persistence.h>
#include <cairn/pipeline.h>
#include <cairn/run_events.h>
#include <cairn/store.h>

#include <cstdint>
#include <optional>
#include <string>

namespace cairn {

/// A state to save, and the run's progress with it.
struct Checkpoint {
    CheckpointType type;
    const State& state;
    const RunProgress& progress;
    std::string step = {};                      ///< The finished step, for the watchers.
    AgentPhase phase = {};                      ///< Phase of the snapshot.
    std::optional<std::string> parent = {};     ///< Set if it is not the head.
    std::string snapshot_id = {};               ///< Set if it must be known before the save.
    std::optional<Durability> durability = {};  ///< Set if it is not the service's.
};

/// Threads: one at a time.
class Checkpointer {
public:
    Checkpointer(StatePersistence& service, StatePersistenceRequest common, RunEvents& events)
        : service_(service), common_(std::move(common)), events_(events) {}

    /// Errors: kConflict (another executor has taken the run), and those of the service. Publishes an event.
    Status save(const Checkpoint& checkpoint);

    std::uint64_t saves() const { return saves_; }
    std::uint64_t skips() const { return skips_; }
    /// Receipt of the last acknowledged save; without an id if there was none.
    const Receipt& last() const { return last_; }
    const std::optional<Error>& error() const { return error_; }

private:
    StatePersistence& service_;
    const StatePersistenceRequest common_;  // the members that all saves of the run share
    RunEvents& events_;
    std::uint64_t saves_ = 0;
    std::uint64_t skips_ = 0;
    Receipt last_ = {};
    std::optional<Error> error_;  // of the last failed save
};

}  // namespace cairn
