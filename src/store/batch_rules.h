#pragma once

// What every store refuses, told in one place so that all stores refuse it with the same code and words. A store reads
// what a batch concerns (`RunFacts`), asks `check_batch`, and applies the batch if that has nothing against it.
//
// The first of these that is met is the answer, and nothing of the run's batch is applied:
//   1. What is wrong whatever the store holds: the one-argument `check_batch` (kInvalidArgument, kAlreadyExists).
//   2. The run's lease is not the one that the lease to write expects (kConflict).
//   3. Of each write in order, against the run as the writes before it leave it:
//      a. the run belongs to others (kInvalidArgument),
//      b. the snapshot id is taken in the run (kAlreadyExists; also if the head has moved or the lease is another's, so
//         that a writer who repeats a commit of unknown outcome learns that it was applied),
//      c. the run is not held under the write's lease (kConflict),
//      d. the head is not at `expected_version` (kConflict),
//      e. the base is not there (kConflict).
//   4. Of each rewrite in order: the snapshot or its new base is not there (kConflict).
//   5. Of each deletion in order: it is the run's head (kInvalidArgument); then, all deletions done, a snapshot that is
//      left needs one that is not (kConflict).
//   6. The run to delete is there and has not the snapshot that it must have (kConflict).

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

/// What a store has read of a run, all of one moment, as far as a batch concerns it.
struct RunFacts {
    struct KnownSnapshot {
        std::string snapshot_id = {};
        std::int64_t base_version = 0;
        Checksum checksum = {};
    };

    std::int64_t head_version = 0;  ///< 0: there is no such run.
    std::string thread_id = {};     ///< Whose it is, if there is one.
    std::string user_id = {};
    Lease lease = {};                         ///< Lease{}: none. Only for a batch that `names_lease`.
    std::vector<std::string> taken_ids = {};  ///< Of the snapshots to write: those that the run has already.
    /// By version, if they are there: the bases of writes and rewrites, what is to be rewritten or deleted, what names
    /// the run to delete, and what needs a snapshot that is to be deleted.
    std::map<std::int64_t, KnownSnapshot> snapshots = {};
};

/// Whether it matters who holds the run.
bool names_lease(const RunBatch& batch);

/// The rules of a batch by itself: ids and owners are given, all is of this run, versions grow, parents and bases come
/// before their children, the writes chain (each expects the one before, under the same owners), no snapshot id twice,
/// the epoch of a lease never shrinks and grows with a new owner.
/// Errors: kInvalidArgument, kAlreadyExists (one snapshot id twice).
[[nodiscard]] Status check_batch(const RunBatch& batch);

/// That, for each of them. A run that two of them name is kInvalidArgument in the later one.
[[nodiscard]] std::vector<Status> check_batches(std::span<const RunBatch> batches);

/// Whether a batch that has passed that may be applied to the run. A pure function: equal facts, equal answers.
/// Errors: kInvalidArgument, kAlreadyExists, kConflict.
[[nodiscard]] Status check_batch(const RunBatch& batch, const RunFacts& facts);

/// Which of the deletions delete something: the versions, each once. `snapshots`: those that are to be deleted, with
/// what the batch itself has written.
std::vector<std::int64_t> versions_to_delete(const RunBatch& batch,
                                             const std::map<std::int64_t, RunFacts::KnownSnapshot>& snapshots);

/// The error for who saves under `lease` while the run has `current`.
std::unexpected<Error> is_executed_by_another(std::string_view run_id, const Lease& lease, const Lease& current);

/// The error of a read that finds a chain broken.
std::unexpected<Error> chain_is_broken(std::string_view run_id, std::int64_t version, std::int64_t base_version);

/// The most frames that any setting lets a load need (CAIRN_CHAIN_FRAMES_MAX): a longer chain is nobody's.
inline constexpr std::uint32_t kChainFramesUpper = 100'000;
std::unexpected<Error> chain_is_too_long(const SnapshotInfo& info);

/// Whether `metadata` (normal text of a JSON object, or empty) has all of `wanted`.
bool has_members(std::string_view metadata, const std::vector<std::pair<std::string, std::string>>& wanted);

}  // namespace cairn
