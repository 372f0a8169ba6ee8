#pragma once

// One run in memory, and the facts that a batch needs to know of it.

#include "store/batch_rules.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace cairn {

struct MemoryRun {
    std::string thread_id;
    std::string user_id;
    std::map<std::int64_t, Snapshot> snapshots;  // by version; the last is the head; their `bases` are empty
    std::map<std::string, std::int64_t, std::less<>> versions;  // by snapshot id
    Timestamp created_at;                                       // of its first snapshot

    const SnapshotInfo& head() const { return snapshots.rbegin()->second.info; }
};

using MemoryRuns = std::map<std::string, MemoryRun, std::less<>>;
using MemoryLeases = std::map<std::string, LeaseInfo, std::less<>>;  // by run; the run need not have snapshots

/// The snapshot with the frames that it needs. Errors: kCorrupt (one is missing).
[[nodiscard]] Result<Snapshot> with_bases(const MemoryRun& run, const Snapshot& snapshot);

/// The number of frames that the snapshot with the longest chain needs, its own included.
std::uint64_t chain_frames_max(const MemoryRun& run);

/// The facts that `batch` needs to know of its run (null: there is none) and of the run's lease.
RunFacts facts_of(const MemoryRun* run, const Lease& lease, const RunBatch& batch);

}  // namespace cairn
