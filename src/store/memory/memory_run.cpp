#include "store/memory/memory_run.h"

#include "store/batch_rules.h"

#include <algorithm>
#include <set>
#include <vector>

namespace cairn {
namespace {

std::set<std::int64_t> versions_named(const RunBatch& batch) {
    std::set<std::int64_t> versions;
    for (const SnapshotWrite& write : batch.writes) versions.insert(write.snapshot.info.base_version);
    for (const FrameRewrite& rewrite : batch.rewrites) {
        versions.insert(rewrite.version);
        versions.insert(rewrite.base_version);
    }
    for (const SnapshotDeletion& deletion : batch.deletions) versions.insert(deletion.version);
    if (batch.run_deletion) versions.insert(batch.run_deletion->version);
    return versions;
}

}  // namespace

RunFacts facts_of(const MemoryRun* run, const Lease& lease, const RunBatch& batch) {
    RunFacts facts{.lease = lease};
    if (run == nullptr) return facts;
    facts.head_version = run->head().version;
    facts.thread_id = run->thread_id;
    facts.user_id = run->user_id;
    for (const SnapshotWrite& write : batch.writes) {
        const std::string& snapshot_id = write.snapshot.info.snapshot_id;
        if (run->versions.contains(snapshot_id)) facts.taken_ids.push_back(snapshot_id);
    }
    const auto add = [&](const SnapshotInfo& info) {
        facts.snapshots[info.version] = {
            .snapshot_id = info.snapshot_id, .base_version = info.base_version, .checksum = info.checksum};
    };
    for (const std::int64_t version : versions_named(batch)) {
        if (const auto found = run->snapshots.find(version); found != run->snapshots.end()) add(found->second.info);
    }
    const std::vector<std::int64_t> going = versions_named_by_deletions(batch);
    if (going.empty()) return facts;
    const auto newer = run->snapshots.upper_bound(going.front());  // a base comes before those that need it
    for (auto entry = newer; entry != run->snapshots.end(); ++entry) {
        if (std::ranges::binary_search(going, entry->second.info.base_version)) add(entry->second.info);
    }
    return facts;
}

Result<Snapshot> with_bases(const MemoryRun& run, const Snapshot& snapshot) {
    Snapshot whole = snapshot;
    const Snapshot* above = &snapshot;
    while (above->info.base_version != 0) {
        const auto base = run.snapshots.find(above->info.base_version);
        if (base == run.snapshots.end()) {
            return broken_chain_error(above->info.run_id, above->info.version, above->info.base_version);
        }
        above = &base->second;
        whole.bases.push_back(
            {.version = above->info.version, .base_version = above->info.base_version, .frame = above->frame});
    }
    std::ranges::reverse(whole.bases);
    return whole;
}

std::uint64_t chain_frames_max(const MemoryRun& run) {
    std::uint64_t longest = 0;
    std::map<std::int64_t, std::uint64_t> frames;  // by version; a base comes before those that need it
    for (const auto& [version, snapshot] : run.snapshots) {
        const std::uint64_t count = 1 + (snapshot.info.base_version == 0 ? 0 : frames[snapshot.info.base_version]);
        frames[version] = count;
        longest = std::max(longest, count);
    }
    return longest;
}

}  // namespace cairn
