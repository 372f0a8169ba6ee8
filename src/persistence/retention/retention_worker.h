#pragma once

// One prune or deletion under way: run by run, in short transactions after each of which everything is loadable.

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

/// A run and to whom it belongs: if it is made anew for others meanwhile, it is another run.
struct OwnedRun {
    std::string run_id;
    std::string thread_id;
    std::string user_id;
    std::string damage = {};  ///< What is wrong with its record, its head's or its lease's.
};

class RetentionWorker {
public:
    /// Marks what goes in the whole history of a run, the oldest first.
    using Mark = std::function<void(std::span<RetentionEntry>)>;

    /// `options` have passed `check_retention_options` and have every member of their runtime.
    RetentionWorker(Store& store, const RetentionOptions& options) : store_(store), options_(options) {}

    /// Deletes from `run` what `mark` marks. Errors: kCorrupt (naming a damaged snapshot that would have to be
    /// rewritten; what stands before it in the plan may be deleted), the store's.
    Status prune_run(const OwnedRun& run, const Mark& mark);

    /// Deletes all of `run`, the head and what it needs last. Needs no intact snapshot. Errors: the store's.
    Status delete_run(const OwnedRun& run);

    /// Gives the freed space back, unless this was a rehearsal or was cancelled.
    Status reclaim();

    /// Until when one call of the store may take.
    Deadline until() const { return std::chrono::steady_clock::now() + options_.timeout; }

    /// For the progress that callers see; 0 if not known.
    void expect_runs(std::uint64_t runs) { runs_expected_ = runs; }
    /// Asks the caller, and remembers a yes.
    bool is_cancelled();
    const RetentionReport& report() const { return report_; }

private:
    /// A transaction, and what is counted once it is applied.
    struct Change {
        RunBatch batch;
        RetentionReport report = {};
        std::uint64_t bytes = 0;  ///< Of the frames in it.
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
    std::optional<DeltaBase> last_base_;  // of the run that is worked on
};

}  // namespace cairn
