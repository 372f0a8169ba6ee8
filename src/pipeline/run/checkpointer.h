#pragma once

// Saves what a run has reached.

#include "pipeline/events/run_events.h"
#include "pipeline/run/run_progress.h"

#include <cairn/persistence.h>
#include <cairn/pipeline.h>
#include <cairn/store.h>

#include <cstdint>
#include <optional>
#include <string>

namespace cairn {

/// A state to save, and how far the run has come with it.
struct Checkpoint {
    CheckpointType type;
    const State& state;
    const RunProgress& progress;
    std::string step = {};                      ///< That was finished, for the watchers.
    AgentPhase phase = {};                      ///< Of the snapshot.
    std::optional<std::string> parent = {};     ///< If not the head.
    std::string snapshot_id = {};               ///< If it must be known before.
    std::optional<Durability> durability = {};  ///< If not the service's.
};

/// Threads: one at a time.
class Checkpointer {
public:
    Checkpointer(StatePersistence& service, StatePersistenceRequest common, RunEvents& events)
        : service_(service), common_(std::move(common)), events_(events) {}

    /// Errors: kConflict (another executor has taken the run), and those of the service. Watchers are told.
    Status save(const Checkpoint& checkpoint);

    std::uint64_t saves() const { return saves_; }
    std::uint64_t skips() const { return skips_; }
    /// Of the last save that was acknowledged; without an id: none was.
    const Receipt& last() const { return last_; }
    const std::optional<Error>& error() const { return error_; }

private:
    StatePersistence& service_;
    const StatePersistenceRequest common_;  // what all saves of the run have
    RunEvents& events_;
    std::uint64_t saves_ = 0;
    std::uint64_t skips_ = 0;
    Receipt last_ = {};
    std::optional<Error> error_;  // of the last save that failed
};

}  // namespace cairn
