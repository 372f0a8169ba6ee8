#pragma once

// One save against the store: on top of the current head, with outcomes resolved by snapshot id.

#include "persistence/chain.h"
#include "persistence/seen_versions.h"

#include <cairn/persistence.h>

#include <optional>
#include <string>

namespace cairn {

/// Writes snapshots whose frames are made.
/// Threads: safe to call concurrently; the order of one run's saves is the caller's business (`RunLanes`).
class SnapshotWriter {
public:
    SnapshotWriter(std::shared_ptr<Store> store, const PersistenceOptions& options)
        : store_(std::move(store)), limits_(options.state_limits) {}

    /// Makes the request's state, encoded as `encoded`, the run's head under `snapshot_id`. `head` is the head as just
    /// read, `parent_version` the version that the request asks to grow from, if it asks.
    ///  - The head moved meanwhile: re-based on the new one, or kConflict, as the request says.
    ///  - The outcome is unknown, or the id is taken: the id is looked up; if it holds this very state, that is this
    ///    save, done. Otherwise the same id is tried again, so nothing is ever saved twice.
    /// Errors: those of `StatePersistence::save_agent_state`.
    Result<Receipt> write(const StatePersistenceRequest& request, const std::string& snapshot_id, Timestamp created_at,
                          EncodedState encoded, std::optional<Head> head, std::optional<std::int64_t> parent_version,
                          Deadline deadline);

    /// The head version that must hold for a request with on_conflict=fail; nothing if any will do.
    std::optional<std::int64_t> expected_version(const StatePersistenceRequest& request) const;

    /// Errors: kConflict if `head` is not the one that the request expects; kInvalidArgument if it has another owner.
    Status check_head(const StatePersistenceRequest& request, const std::optional<Head>& head) const;

    /// This service now knows that the run's head was at `version`.
    void saw(const std::string& run_id, std::int64_t version) { seen_.note(run_id, version); }

    /// What a commit left in the store.
    struct Committed {
        std::int64_t version = 0;
        std::uint64_t frame_bytes = 0;
    };

    /// Commits a batch of one snapshot, of `state`. Nothing: the head moved or the base is gone; nothing was applied.
    Result<std::optional<Committed>> commit(const Batch& batch, const State& state, Deadline deadline);

private:
    Result<std::optional<Committed>> look_up(const SnapshotInfo& info, const State& state);

    std::shared_ptr<Store> store_;
    StateLimits limits_;
    SeenVersions seen_;
};

}  // namespace cairn
