#pragma once

// Imports snapshots into a store, under their own ids and versions.

#include "persistence/reading/chain.h"
#include "persistence/timeouts.h"

#include <cairn/persistence.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace cairn {

struct ImportOptions {
    bool compression = true;  ///< Also turns delta frames on or off.
    ChainLimits chain_limits = {};
    StateLimits state_limits = {};
    std::chrono::milliseconds timeout{30'000};  ///< Limit of one transaction.
};

/// Takes the snapshots of a run in the order of their versions and commits many at a time. Snapshots that are there
/// already are left as they are, so an interrupted import can be repeated.
class Importer {
public:
    Importer(Store& store, const ImportOptions& options) : store_(store), options_(options) {}

    /// Holds or commits it. `line`, its origin, appears in messages.
    /// Errors: kAlreadyExists (another snapshot has its id or its version), kConflict (the run is beyond that version
    ///   and does not have it, or was changed meanwhile), kInvalidArgument (the run belongs to others), the store's.
    Status add(LoadedState snapshot, std::uint64_t line);

    /// Commits the held snapshots. Call it at the end, and for the snapshots before an error.
    /// Errors, naming the lines that are not imported: kConflict (the run was changed meanwhile), the store's. The
    ///   message also says which of the held lines are imported: those of other runs.
    Status flush();

    std::uint64_t imported() const { return imported_; }
    std::uint64_t skipped() const { return skipped_; }  ///< Snapshots that were there already.
    const std::set<std::string>& runs() const { return runs_; }

private:
    /// The run whose snapshots are being added.
    struct Position {
        std::string run_id;
        std::optional<Head> head_before;  ///< In the store, when the run's first snapshot came.
        std::int64_t version = 0;         ///< Version of the newest snapshot, in the store or held.
        std::string snapshot_id;          ///< Id of that one, or of the one that was skipped last,
        std::optional<DeltaBase> base;    ///< and its state, if available.
    };

    Status enter_run(const std::string& run_id);
    Status check_new(const SnapshotInfo& info, std::uint64_t line);
    Status skip(const SnapshotInfo& info, std::uint64_t line);
    Status hold(LoadedState snapshot, std::uint64_t line);
    Result<EncodedState> encode(const LoadedState& snapshot);
    Status load_base();

    Deadline until() const { return std::chrono::steady_clock::now() + bounded(options_.timeout); }

    Store& store_;
    const ImportOptions options_;
    Position position_;
    std::vector<RunBatch> batches_;                  // held; each has the snapshots of one run
    std::vector<std::vector<std::uint64_t>> lines_;  // of each of their snapshots
    std::size_t held_ = 0;                           // snapshots in them
    std::uint64_t held_bytes_ = 0;
    std::uint64_t imported_ = 0;
    std::uint64_t skipped_ = 0;
    std::set<std::string> runs_;
};

}  // namespace cairn
