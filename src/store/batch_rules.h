#pragma once

// The rules that every store enforces. They are in one place, so that all stores refuse a batch with the same code and
// words. A store reads the facts that a batch concerns (`RunFacts`), asks `check_batch`, and applies the batch if there
// is no objection.
//
// The first rule below that is broken gives the answer, and nothing of the run's batch is applied:
//   1. The batch is wrong whatever the store holds (kInvalidArgument, kAlreadyExists): `check_batch` of a batch alone.
//   2. The run's lease is not the one that the lease to write expects (kConflict).
//   3. Each write in order, against the run as the writes before it leave it:
//      a. the run belongs to others (kInvalidArgument),
//      b. the snapshot id is taken in the run (kAlreadyExists; also if the head has moved or the lease is another's, so
//         that a writer that repeats a commit of unknown outcome learns that it was applied),
//      c. the run is not held under the write's lease (kConflict),
//      d. the head is not at `expected_version` (kConflict),
//      e. the base is not there (kConflict).
//   4. Each rewrite in order: the snapshot or its new base is not there (kConflict).
//   5. Each deletion in order: it is the run's head (kInvalidArgument). Then, after all deletions: a remaining snapshot
//      needs a deleted one (kConflict).
//   6. The run to delete exists but does not have the snapshot that it must have (kConflict).

#include <cairn/store.h>

#include <cstdint>
#include <expected>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

/// The facts that a store has read of a run, all from one moment, as far as a batch concerns them.
struct RunFacts {
    struct KnownSnapshot {
        std::string snapshot_id = {};
        std::int64_t base_version = 0;
        Checksum checksum = {};
    };

    std::int64_t head_version = 0;  ///< 0: the run does not exist.
    std::string thread_id = {};     ///< The run's owner, if it exists.
    std::string user_id = {};
    Lease lease = {};                         ///< Lease{}: none. Read only if the batch `names_lease`.
    std::vector<std::string> taken_ids = {};  ///< Ids of the snapshots to write that the run has already.
    /// By version, if they exist: bases of writes and rewrites, snapshots to rewrite or delete, the snapshot that names
    /// the run to delete, and snapshots that need one that a deletion names.
    std::map<std::int64_t, KnownSnapshot> snapshots = {};
};

/// Says whether the batch depends on the run's lease.
bool names_lease(const RunBatch& batch);

/// Says whether a batch changes or deletes what is stored already: rewrites, deletions, or the deletion of the run.
bool prunes(const RunBatch& batch);

/// Checks a batch by itself: ids and owners are given, everything is of this run, versions grow, parents and bases come
/// before their children, the writes chain (each expects the one before, under the same owners), no snapshot id occurs
/// twice, and a lease's epoch never shrinks and grows with a new owner.
/// Errors: kInvalidArgument, kAlreadyExists (one snapshot id twice).
[[nodiscard]] Status check_batch(const RunBatch& batch);

/// Checks each batch by itself. If two batches name one run, the later one is kInvalidArgument.
[[nodiscard]] std::vector<Status> check_batches(std::span<const RunBatch> batches);

/// Returns the versions that the batch's deletions name, each once, in ascending order.
std::vector<std::int64_t> versions_named_by_deletions(const RunBatch& batch);

/// Checks that a batch that passed the check above may be applied to the run. Pure: equal facts, equal answers.
/// Returns the versions of the snapshots that its deletions delete, each once, in ascending order. A deletion of a
/// snapshot that is not there deletes nothing.
/// Errors: kInvalidArgument, kAlreadyExists, kConflict.
[[nodiscard]] Result<std::vector<std::int64_t>> check_batch(const RunBatch& batch, const RunFacts& facts);

/// The error for a save under `lease` while the run has `current`.
std::unexpected<Error> executed_by_another_error(std::string_view run_id, const Lease& lease, const Lease& current);

/// The error of a read that finds a broken chain.
std::unexpected<Error> broken_chain_error(std::string_view run_id, std::int64_t version, std::int64_t base_version);

/// The most frames that any setting lets a load need (CAIRN_CHAIN_FRAMES_MAX). No cairn writes a longer chain.
inline constexpr std::uint32_t kChainFramesUpper = 100'000;
std::unexpected<Error> overlong_chain_error(const SnapshotInfo& info);

/// Says whether `metadata` (normal text of a JSON object, or empty) has all of `wanted`.
bool has_members(std::string_view metadata, const std::vector<std::pair<std::string, std::string>>& wanted);

}  // namespace cairn
