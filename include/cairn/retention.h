#pragma once

#include <cairn/error.h>
#include <cairn/persistence.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace cairn {

/// Rules for deletion. A snapshot is deleted if any rule that is set selects it. A run's head is never deleted.
/// Recovery points (saved with `is_recovery_point`) are deleted only with `include_recovery_points`. If no rule is set,
/// nothing is deleted.
struct RetentionPolicy {
    std::optional<std::size_t> keep_last = {};              ///< Per run: selects all but this many newest (at least 1).
    std::optional<std::chrono::microseconds> age_max = {};  ///< Selects snapshots created longer ago than this.
    bool expired = false;                                   ///< Selects snapshots whose `expires_at` has passed.
    bool include_recovery_points = false;
    // If set, the rules apply only to these.
    std::optional<std::string> run_id = {};
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
};

/// The runs to delete, as a whole: one run, a thread's, or a user's. At least one of run, thread and user must be
/// given; further ones narrow the selection.
struct DeletionTarget {
    std::optional<std::string> run_id = {};
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
};

/// Progress so far.
struct RetentionProgress {
    std::uint64_t runs_done = 0;
    std::uint64_t runs = 0;  ///< 0: not known yet.
    std::uint64_t snapshots_deleted = 0;
};

struct RetentionOptions {
    bool dry_run = false;                    ///< Only counts.
    std::size_t snapshots_per_commit = 100;  ///< Keeps transactions short, so that other writers keep going.
    StateLimits state_limits = {};
    ChainLimits chain_limits = {};              ///< Limits of rewritten snapshots.
    std::chrono::milliseconds timeout{30'000};  ///< Limit of one transaction, or one reading.
    Runtime runtime = {};
    std::function<void(const RetentionProgress&)> progress = nullptr;
    /// Called between transactions and between runs; true stops there. Finished work stays done.
    std::function<bool()> is_cancelled = nullptr;
};

/// The results of a deletion; in a dry run, the results that it would have.
struct RetentionReport {
    std::uint64_t runs_examined = 0;
    std::uint64_t runs_deleted = 0;
    std::uint64_t snapshots_deleted = 0;
    std::uint64_t snapshots_rewritten = 0;  ///< Made independent of a deleted snapshot.
    std::uint64_t frame_bytes_deleted = 0;  ///< Frames of deleted snapshots, and frames that rewriting replaced.
    std::uint64_t frame_bytes_added = 0;    ///< Frames that rewriting added.
    std::uint64_t store_bytes_returned = 0;
    bool was_cancelled = false;
};

/// Deletes the snapshots that `policy` selects. Snapshots that need a deleted one are made independent of it first, in
/// the same transaction or an earlier one. So all remaining snapshots load, wherever it is interrupted. Safe beside
/// writers of any process.
/// Errors: kInvalidArgument (names the field), kCorrupt (a snapshot that had to be rewritten is damaged: nothing of its
///   run was deleted after that, but other runs were pruned; several: the first), those of `Store::commit`. Work done
///   before an error stays done.
[[nodiscard]] Result<RetentionReport> prune(Store& store, const RetentionPolicy& policy,
                                            const RetentionOptions& options = {});

/// Deletes whole runs with all their data, including recovery points and recovery logs.
/// Errors: kInvalidArgument (no target), kNotFound (nothing there under these owners), those of `Store::commit`.
[[nodiscard]] Result<RetentionReport> delete_runs(Store& store, const DeletionTarget& target,
                                                  const RetentionOptions& options = {});

}  // namespace cairn
