#pragma once

// One run in memory, and whether a batch may be applied to what is there.

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
    std::map<std::int64_t, Snapshot> snapshots;                 // by version; the last is the head; without bases
    std::map<std::string, std::int64_t, std::less<>> versions;  // by snapshot id
    std::int64_t created_sequence = 0;                          // of its first write
    std::int64_t commit_sequence = 0;                           // of its head
    Timestamp created_at;                                       // of its first snapshot

    const SnapshotInfo& head() const { return snapshots.rbegin()->second.info; }
};

using MemoryRuns = std::map<std::string, MemoryRun, std::less<>>;
using MemoryLeases = std::map<std::string, LeaseInfo, std::less<>>;  // by run, which need not have snapshots

/// The snapshot with the frames that it needs. Errors: kCorrupt (one is missing).
[[nodiscard]] Result<Snapshot> with_bases(const MemoryRun& run, const Snapshot& snapshot);

/// How many frames each of the run's snapshots needs, its own included: the most of them.
std::uint64_t chain_frames_max(const MemoryRun& run);

/// What store/batch_rules.h says about a batch and the runs it meets, in that order. Changes nothing.
/// Errors: kInvalidArgument, kAlreadyExists, kConflict.
[[nodiscard]] Status check_against(const MemoryRuns& runs, const MemoryLeases& leases, const Batch& batch);

}  // namespace cairn
