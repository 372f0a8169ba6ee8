#pragma once

// The reading and writing that both services share.

#include "persistence/reading/recovery.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/reading/thread_context.h"
#include "persistence/save/run_lanes.h"
#include "persistence/save/snapshot_writer.h"

#include <cairn/persistence.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace cairn {

/// The parts of a service. The optimised service and the object behind `fallback_service` share one: one order of each
/// run's saves, one notion of the heads.
struct ServiceCore {
    ServiceCore(std::shared_ptr<Store> store, PersistenceOptions options);

    Status check(const StatePersistenceRequest& request) const;
    /// Returns the end of `timeout`, or of the service's timeout without one, counted from now.
    Deadline deadline(std::optional<std::chrono::milliseconds> timeout) const;
    /// Returns the caller's own id, or a new one.
    std::string snapshot_id(const StatePersistenceRequest& request) const;

    /// Writes one uncompressed, self-contained frame in a transaction of its own. The caller keeps the order of the
    /// run's saves: it has the run's turn, or commits its queued saves.
    Result<Receipt> write_standard(const StatePersistenceRequest& request, Deadline deadline) const;
    /// Reads the snapshot that the request asks to grow from; nothing if it asks for none or for the head.
    /// Errors: kNotFound, the store's.
    Result<std::optional<Snapshot>> parent(const StatePersistenceRequest& request, const std::optional<Head>& head,
                                           Deadline deadline) const;
    /// Returns the version that the request asks to grow from: that of `fork`, or of the head. Nothing: any head will
    /// do.
    static std::optional<std::int64_t> parent_version(const StatePersistenceRequest& request,
                                                      const std::optional<Snapshot>& fork,
                                                      const std::optional<Head>& head);
    /// Loads from the store. The request must be checked.
    Result<ChainedState> load(const LoadRequest& request, Deadline deadline) const;

    const std::shared_ptr<Store> store;
    const PersistenceOptions options;  ///< With every member of its runtime.
    const std::shared_ptr<SnapshotWriter> writer;
    RunLanes lanes;
    Recovery recovery;
};

}  // namespace cairn
