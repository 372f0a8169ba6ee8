#pragma once

// Resume, rollback and restart: they find an intact snapshot, make its state the head, and log that.

#include "persistence/save/snapshot_writer.h"
#include "persistence/timeouts.h"

#include <cairn/persistence.h>

namespace cairn {

/// Both services use it. The caller keeps the order among the run's saves (`RunLanes`).
class Recovery {
public:
    Recovery(std::shared_ptr<Store> store, std::shared_ptr<SnapshotWriter> writer, PersistenceOptions options)
        : store_(std::move(store)), writer_(std::move(writer)), options_(std::move(options)) {}

    /// Does what `StatePersistence::recover_agent_state` promises. `options.runtime` must have its defaults. Each store
    /// call may wait for `options.timeout`, since the time for a damaged run grows with its size. After `deadline`, a
    /// recovery that another writer has overtaken is not tried again.
    Result<RecoveryResult> recover(const StateRecoveryRequest& request, Deadline deadline);

private:
    struct Attempt;

    Deadline until() const { return std::chrono::steady_clock::now() + bounded(options_.timeout); }
    bool has_moved(const std::string& run_id, const Head& head);
    Status find_source(Attempt& attempt, const Head& head);
    Status find_newest_intact(Attempt& attempt, const Head& head);
    Status find_head(Attempt& attempt);
    Status find_target(Attempt& attempt, std::string_view snapshot_id);
    Status find(Attempt& attempt, const LoadRequest& load);
    Status find_first(Attempt& attempt);

    Result<bool> try_once(Attempt& attempt);
    Result<bool> make_head(Attempt& attempt, const Head& head);
    void report(const Attempt& attempt, const Status& status);

    void append_to_log(RecoveryRecord record);
    RecoveryRecord make_record(const Attempt& attempt) const;

    std::shared_ptr<Store> store_;
    std::shared_ptr<SnapshotWriter> writer_;
    PersistenceOptions options_;
};

}  // namespace cairn
