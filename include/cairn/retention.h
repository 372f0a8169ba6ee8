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

/// What may go. A snapshot goes if any rule that is set says so. A run's head never goes, and recovery points (what was
/// saved with `is_recovery_point`) only if `include_recovery_points`. Nothing set: nothing goes.
struct RetentionPolicy {
    std::optional<std::size_t> keep_last = {};              ///< Per run: all but the newest so many (at least 1).
    std::optional<std::chrono::microseconds> age_max = {};  ///< What was created longer ago than this.
    bool expired = false;                                   ///< What has an `expires_at` that has passed.
    bool include_recovery_points = false;
    // Only these, where given.
    std::optional<std::string> run_id = {};
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
};

/// Whole runs: one, a thread's, or a user's. At least one of run, thread, user must be given; further ones narrow it
/// down.
struct DeletionTarget {
    std::optional<std::string> run_id = {};
    std::optional<std::string> thread_id = {};
    std::optional<std::string> user_id = {};
};

/// How far it is.
struct RetentionProgress {
    std::uint64_t runs_done = 0;
    std::uint64_t runs = 0;  ///< 0: not known yet.
    std::uint64_t snapshots_deleted = 0;
};

struct RetentionOptions {
    bool dry_run = false;                    ///< Only count.
    std::size_t snapshots_per_commit = 100;  ///< Transactions stay this short, so that other writers keep going.
    StateLimits state_limits = {};
    ChainLimits chain_limits = {};              ///< Of what is rewritten.
    std::chrono::milliseconds timeout{30'000};  ///< Of one transaction, or one reading.
    Runtime runtime = {};
    std::function<void(const RetentionProgress&)> progress = nullptr;
    /// Asked between transactions and between runs; true stops there. What is done stays done.
    std::function<bool()> is_cancelled = nullptr;
};

/// What went, or (dry run) would go.
struct RetentionReport {
    std::uint64_t runs_examined = 0;
    std::uint64_t runs_deleted = 0;
    std::uint64_t snapshots_deleted = 0;
    std::uint64_t snapshots_rewritten = 0;  ///< Made independent of a deleted one.
    std::uint64_t frame_bytes_deleted = 0;  ///< Of deleted snapshots, and of the frames that rewriting replaced.
    std::uint64_t frame_bytes_added = 0;    ///< By rewriting.
    std::uint64_t store_bytes_returned = 0;
    bool was_cancelled = false;
};

/// Deletes what `policy` lets go. Snapshots that need a deleted one are made independent of it first, in the same
/// transaction or an earlier one: interrupted anywhere, all remaining snapshots load. Safe beside writers of any
/// process.
/// Errors: kInvalidArgument (names the field), kCorrupt (a snapshot that had to be rewritten is damaged: nothing of its
///   run was deleted after that, but other runs were pruned; several: the first), those of `Store::commit`. What was
///   done before an error stays done.
[[nodiscard]] Result<RetentionReport> prune(Store& store, const RetentionPolicy& policy,
                                            const RetentionOptions& options = {});

/// Deletes whole runs with everything in them, recovery points and recovery logs too.
/// Errors: kInvalidArgument (no target), kNotFound (nothing there under these owners), those of `Store::commit`.
[[nodiscard]] Result<RetentionReport> delete_runs(Store& store, const DeletionTarget& target,
                                                  const RetentionOptions& options = {});

}  // namespace cairn
