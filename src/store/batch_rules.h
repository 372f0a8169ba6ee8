#pragma once

// What every store refuses, told in one place so that all stores refuse it with the same code and words.
//
// A commit asks in this order; the first failure is returned and nothing is applied:
//   1. `check_batch`: what is wrong whatever the store holds (kInvalidArgument, kAlreadyExists).
//   2. For each lease to write in order: the run's lease is not the expected one: `check_lease`.
//   3. For each write in order, against its run as the writes before it leave it:
//      a. `check_owner` (kInvalidArgument),
//      b. the snapshot id is taken in its run: `already_exists` (also if the head has moved or the lease is another's,
//         so that a writer that repeats a commit of unknown outcome learns that it was applied),
//      c. the run is not held under the write's lease: `check_lease`,
//      d. the head is not at `expected_version`: `conflict`,
//      e. the base is not there: `base_is_gone`.
//   4. For each rewrite in order: the snapshot or its new base is not there: `snapshot_is_gone`, `base_is_gone`.
//   5. For each deletion in order: it is its run's head (`head_stays`); then, all deletions done, for each run: a
//      snapshot that is left needs one that is not (`still_needed`).
//   6. For each run to delete that is there: it has not the snapshot that it must have (`is_another_run`).

#include <cairn/store.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

/// The rules of a batch by itself: ids and owners are given, versions grow, parents and bases come before their
/// children, the writes to one run chain (each expects the one before, under the same owners), no snapshot id twice,
/// epochs of leases never shrink and grow with each new owner.
/// Errors: kInvalidArgument, kAlreadyExists (one snapshot id twice in one run).
[[nodiscard]] Status check_batch(const Batch& batch);

/// A run keeps the thread and the user of its first snapshot. Errors: kInvalidArgument.
[[nodiscard]] Status check_owner(const SnapshotWrite& write, std::string_view thread_id, std::string_view user_id);

/// Whether the run that has the lease `current` (Lease{}: none) may get that of `write`. Errors: kConflict.
[[nodiscard]] Status check_lease(const LeaseWrite& write, const Lease& current);

/// Whether the run that has the lease `current` is held as `write` requires, if it does. Errors: kConflict.
[[nodiscard]] Status check_lease(const SnapshotWrite& write, const Lease& current);

/// The error for who saves under `lease` while the run has `current`.
std::unexpected<Error> is_executed_by_another(std::string_view run_id, const Lease& lease, const Lease& current);

/// The error for a run whose head is at `head_version` (0: there is no such run) and not where `write` expects it.
std::unexpected<Error> conflict(const SnapshotWrite& write, std::int64_t head_version);

/// The error for a snapshot id that is taken in its run.
std::unexpected<Error> already_exists(const SnapshotWrite& write);

/// The errors for what a frame needs, and for what is needed.
std::unexpected<Error> base_is_gone(std::string_view run_id, std::int64_t version, std::int64_t base_version);
std::unexpected<Error> snapshot_is_gone(const FrameRewrite& rewrite);
std::unexpected<Error> head_stays(const SnapshotDeletion& deletion);
std::unexpected<Error> still_needed(std::string_view run_id, std::int64_t version, std::int64_t needed_by);

/// The error for a run to delete that has not the snapshot by which it is known.
std::unexpected<Error> is_another_run(const RunDeletion& deletion);

/// The error of a read that finds a chain broken.
std::unexpected<Error> chain_is_broken(std::string_view run_id, std::int64_t version, std::int64_t base_version);

/// The most frames that any setting lets a load need (CAIRN_CHAIN_FRAMES_MAX): a longer chain is nobody's.
inline constexpr std::uint32_t kChainFramesUpper = 100'000;
std::unexpected<Error> chain_is_too_long(const SnapshotInfo& info);

/// Whether `metadata` (normal text of a JSON object, or empty) has all of `wanted`.
bool has_members(std::string_view metadata, const std::vector<std::pair<std::string, std::string>>& wanted);

}  // namespace cairn
