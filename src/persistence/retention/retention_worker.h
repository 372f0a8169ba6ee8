#pragma once

// One prune or deletion under way. It goes run by run, in short transactions. After each of them every remaining
// snapshot is loadable.

#include "persistence/reading/snapshot_reader.h"
#include "persistence/retention/retention_plan.h"

#include <cairn/retention.h>

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cairn {

/// A run and its owners. A run that is deleted and made anew for other owners meanwhile is another run.
struct OwnedRun {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::string damage = {};  ///< The damaged part of its record, head or lease.
};

class RetentionWorker {
public:
    /// Marks the snapshots to delete. It gets the whole history of a run, oldest first.
    using Mark = std::function<void(std::span<RetentionEntry>)>;

    /// `options` must have passed `check_retention_options`, and every member of their runtime must be set.
    RetentionWorker(Store& store, const RetentionOptions& options) : store_(store), options_(options) {}

    /// Deletes the snapshots of `run` that `mark` marks. Errors: kCorrupt (a snapshot that has to be rewritten is
    /// damaged; the message names it; earlier steps of the plan may have been applied), the store's.
    Status prune_run(const OwnedRun& run, const Mark& mark);

    /// Deletes all of `run`; the head and the snapshots that it needs go last. Damaged snapshots do not stop it.
    /// Errors: the store's.
    Status delete_run(const OwnedRun& run);

    /// Gives the freed space back, unless this was a dry run or was cancelled.
    Status reclaim();

    /// The deadline of one store call that begins now.
    Deadline until() const { return std::chrono::steady_clock::now() + options_.timeout; }

    /// Sets the number of runs in the progress report; 0: unknown.
    void expect_runs(std::uint64_t runs) { runs_expected_ = runs; }
    /// Asks the caller whether to stop, and remembers a yes.
    bool is_cancelled();
    const RetentionReport& report() const { return report_; }

private:
    /// A transaction, and the counts to add once it is applied.
    struct Change {
        RunBatch batch;
        RetentionReport report = {};
        std::uint64_t bytes = 0;  ///< Size of the frames in it.
    };
    using Attempt = std::function<Status()>;

    Status until_no_conflict(const OwnedRun& run, const Attempt& attempt);
    Result<std::vector<RetentionEntry>> read_entries(const OwnedRun& run);
    Status work_through(const OwnedRun& run, std::span<const RetentionEntry> entries);
    Status add(Change& change, const OwnedRun& run, std::span<const RetentionEntry> entries, const RetentionStep& step);
    Result<EncodedState> encode(const OwnedRun& run, const RetentionEntry& entry, const RetentionEntry* base);
    Result<State> load_state(const OwnedRun& run, const RetentionEntry& entry);
    Result<ChainedState> load(const OwnedRun& run, const RetentionEntry& entry);
    bool is_full(const Change& change) const;
    Status commit(const Change& change);
    Status apply(const RunBatch& batch);
    Status apply_in_pieces(const RunBatch& batch);
    void report_progress() const;

    Store& store_;
    const RetentionOptions& options_;
    RetentionReport report_;
    std::uint64_t runs_expected_ = 0;
    Deadline deadline_;                   // moves on with each transaction
    std::optional<DeltaBase> last_base_;  // of the current run
};

}  // namespace cairn
