#include "store/memory/memory_run.h"

#include "store/batch_rules.h"

#include <algorithm>
#include <optional>
#include <ranges>
#include <set>
#include <string_view>

namespace cairn {
namespace {

// What a run will hold once a batch is applied, as far as the batch changes it.
class Outlook {
public:
    explicit Outlook(const MemoryRun* run) : run_(run) {}

    Status write(const SnapshotWrite& write, const Lease& lease);
    Status rewrite(const FrameRewrite& rewrite);
    Status remove(const SnapshotDeletion& deletion);
    Status check_needs() const;
    Status check_is_same(const RunDeletion& deletion) const;

private:
    struct Known {
        std::string_view snapshot_id;
        std::int64_t base_version = 0;
    };

    std::optional<Known> find(std::int64_t version) const;
    std::int64_t head_version() const;
    bool has_base(std::int64_t base_version, std::string_view snapshot_id) const;
    Status check_need(std::string_view run_id, std::int64_t version, std::int64_t base_version) const;

    const MemoryRun* run_;                   // null: there is none yet
    std::string_view run_id_;                // of what was removed
    std::map<std::int64_t, Known> changed_;  // written or rewritten
    std::set<std::int64_t> removed_;
};

std::optional<Outlook::Known> Outlook::find(std::int64_t version) const {
    if (const auto changed = changed_.find(version); changed != changed_.end()) return changed->second;
    if (run_ == nullptr) return std::nullopt;
    const auto found = run_->snapshots.find(version);
    if (found == run_->snapshots.end()) return std::nullopt;
    const SnapshotInfo& info = found->second.info;
    return Known{.snapshot_id = info.snapshot_id, .base_version = info.base_version};
}

std::int64_t Outlook::head_version() const {
    const std::int64_t changed = changed_.empty() ? 0 : changed_.rbegin()->first;
    return std::max(changed, run_ == nullptr ? 0 : run_->head().version);
}

bool Outlook::has_base(std::int64_t base_version, std::string_view snapshot_id) const {
    if (base_version == 0) return true;
    const std::optional<Known> base = find(base_version);
    return base && (snapshot_id.empty() || snapshot_id == base->snapshot_id);
}

Status Outlook::write(const SnapshotWrite& write, const Lease& lease) {
    const SnapshotInfo& info = write.snapshot.info;
    if (run_ != nullptr) {
        if (Status status = check_owner(write, run_->thread_id, run_->user_id); !status) return status;
        if (run_->versions.contains(info.snapshot_id)) return already_exists(write);
    }
    if (Status status = check_lease(write, lease); !status) return status;
    if (head_version() != write.expected_version) return conflict(write, head_version());
    if (!has_base(info.base_version, write.base_snapshot_id)) {
        return base_is_gone(info.run_id, info.version, info.base_version);
    }
    changed_[info.version] = {.snapshot_id = info.snapshot_id, .base_version = info.base_version};
    return {};
}

Status Outlook::rewrite(const FrameRewrite& rewrite) {
    const std::optional<Known> found = find(rewrite.version);
    const bool is_there = found && (rewrite.snapshot_id.empty() || rewrite.snapshot_id == found->snapshot_id);
    if (!is_there) return snapshot_is_gone(rewrite);
    if (!has_base(rewrite.base_version, {})) {
        return base_is_gone(rewrite.run_id, rewrite.version, rewrite.base_version);
    }
    changed_[rewrite.version] = {.snapshot_id = found->snapshot_id, .base_version = rewrite.base_version};
    return {};
}

Status Outlook::remove(const SnapshotDeletion& deletion) {
    const std::optional<Known> found = find(deletion.version);
    if (!found || (!deletion.snapshot_id.empty() && deletion.snapshot_id != found->snapshot_id)) return {};
    if (deletion.version == head_version()) return head_stays(deletion);
    run_id_ = deletion.run_id;
    removed_.insert(deletion.version);
    return {};
}

Status Outlook::check_need(std::string_view run_id, std::int64_t version, std::int64_t base_version) const {
    if (removed_.contains(version) || !removed_.contains(base_version)) return {};
    return still_needed(run_id, base_version, version);
}

Status Outlook::check_needs() const {
    if (removed_.empty()) return {};
    for (const auto& [version, known] : changed_) {
        if (Status status = check_need(run_id_, version, known.base_version); !status) return status;
    }
    if (run_ == nullptr) return {};
    const auto newer = run_->snapshots.upper_bound(*removed_.begin());  // a base comes before those that need it
    for (const auto& [version, snapshot] : std::ranges::subrange(newer, run_->snapshots.end())) {
        if (changed_.contains(version)) continue;
        if (Status status = check_need(run_id_, version, snapshot.info.base_version); !status) return status;
    }
    return {};
}

Status Outlook::check_is_same(const RunDeletion& deletion) const {
    const bool is_there = run_ != nullptr || !changed_.empty();
    if (!is_there || deletion.version == 0) return {};
    const std::optional<Known> known = removed_.contains(deletion.version) ? std::nullopt : find(deletion.version);
    if (known && known->snapshot_id == deletion.snapshot_id) return {};
    return is_another_run(deletion);
}

// The leases that the runs will have.
class LeaseOutlook {
public:
    explicit LeaseOutlook(const MemoryLeases& leases) : leases_(leases) {}

    Lease find(std::string_view run_id) const {
        if (const auto changed = changed_.find(run_id); changed != changed_.end()) return changed->second;
        const auto found = leases_.find(run_id);
        return found == leases_.end() ? Lease{} : found->second.lease;
    }
    Status write(const LeaseWrite& write) {
        if (Status status = check_lease(write, find(write.run_id)); !status) return status;
        changed_[write.run_id] = write.lease;
        return {};
    }

private:
    const MemoryLeases& leases_;
    std::map<std::string_view, Lease> changed_;
};

}  // namespace

Result<Snapshot> with_bases(const MemoryRun& run, const Snapshot& snapshot) {
    Snapshot whole = snapshot;
    const Snapshot* above = &snapshot;
    while (above->info.base_version != 0) {
        const auto base = run.snapshots.find(above->info.base_version);
        if (base == run.snapshots.end()) {
            return chain_is_broken(above->info.run_id, above->info.version, above->info.base_version);
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

Status check_against(const MemoryRuns& runs, const MemoryLeases& leases, const Batch& batch) {
    std::map<std::string_view, Outlook> outlooks;
    const auto outlook = [&](const std::string& run_id) -> Outlook& {
        const auto run = runs.find(run_id);
        return outlooks.try_emplace(run_id, run == runs.end() ? nullptr : &run->second).first->second;
    };
    LeaseOutlook lease_outlook(leases);
    for (const LeaseWrite& write : batch.leases) {
        if (Status status = lease_outlook.write(write); !status) return status;
    }
    for (const SnapshotWrite& write : batch.writes) {
        const std::string& run_id = write.snapshot.info.run_id;
        if (Status status = outlook(run_id).write(write, lease_outlook.find(run_id)); !status) return status;
    }
    for (const FrameRewrite& rewrite : batch.rewrites) {
        if (Status status = outlook(rewrite.run_id).rewrite(rewrite); !status) return status;
    }
    for (const SnapshotDeletion& deletion : batch.deletions) {
        if (Status status = outlook(deletion.run_id).remove(deletion); !status) return status;
    }
    for (const auto& [run_id, looked_at] : outlooks) {
        if (Status status = looked_at.check_needs(); !status) return status;
    }
    for (const RunDeletion& deletion : batch.run_deletions) {
        if (Status status = outlook(deletion.run_id).check_is_same(deletion); !status) return status;
    }
    return {};
}

}  // namespace cairn
