#pragma once

// Resume, rollback and restart: find a snapshot that is intact, make its state the head, log it.

#include "persistence/save/snapshot_writer.h"

#include <cairn/persistence.h>

namespace cairn {

/// The same for both services. The order among the run's saves is the caller's business (`RunLanes`).
class Recovery {
public:
    Recovery(std::shared_ptr<Store> store, std::shared_ptr<SnapshotWriter> writer, PersistenceOptions options)
        : store_(std::move(store)), writer_(std::move(writer)), options_(std::move(options)) {}

    /// Does what `StatePersistence::recover_agent_state` promises. `options.runtime` must have its defaults.
    Result<RecoveryResult> recover(const StateRecoveryRequest& request, Deadline deadline);

private:
    struct Attempt;

    bool has_moved(const std::string& run_id, const Head& head, Deadline deadline);
    Status find_source(Attempt& attempt, const Head& head, Deadline deadline);
    Status find_newest_intact(Attempt& attempt, const Head& head, Deadline deadline);
    Status find_head(Attempt& attempt, Deadline deadline);
    Status find_target(Attempt& attempt, std::string_view snapshot_id, Deadline deadline);
    Status find(Attempt& attempt, const LoadRequest& load, Deadline deadline);
    Status find_first(Attempt& attempt, Deadline deadline);

    Result<bool> try_once(Attempt& attempt, Deadline deadline);
    Result<bool> make_head(Attempt& attempt, const Head& head, Deadline deadline);
    void report(const Attempt& attempt, const Status& status);

    void append_to_log(RecoveryRecord record, Deadline deadline);
    RecoveryRecord make_record(const Attempt& attempt) const;

    std::shared_ptr<Store> store_;
    std::shared_ptr<SnapshotWriter> writer_;
    PersistenceOptions options_;
};

}  // namespace cairn
