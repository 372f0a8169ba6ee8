#include "store/batch_rules.h"

#include "base/text_hash.h"

#include <cairn/state.h>

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_set>
#include <utility>

namespace cairn {
namespace {

using KnownSnapshot = RunFacts::KnownSnapshot;

// ---- a batch by itself ----

Status require(std::string_view value, std::string_view field) {
    if (!value.empty()) return {};
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} is empty", field));
}

Status require_run(std::string_view run_id, std::string_view field, const RunBatch& batch) {
    if (run_id == batch.run_id) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is \"{}\" in a batch of run \"{}\": give each run a batch of its own", field, run_id,
                            batch.run_id));
}

Status check_ids(const SnapshotInfo& info, const RunBatch& batch) {
    if (Status status = require_run(info.run_id, "run_id", batch); !status) return status;
    if (Status status = require(info.thread_id, "thread_id"); !status) return status;
    if (Status status = require(info.user_id, "user_id"); !status) return status;
    return require(info.snapshot_id, "snapshot_id");
}

std::string describe(const Lease& lease) {
    return lease == Lease{} ? "no lease" : fmt::format("the lease of \"{}\", epoch {}", lease.owner, lease.epoch);
}

Status check_base(std::string_view run_id, std::int64_t version, std::int64_t base_version) {
    if (base_version >= 0 && base_version < version) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\": base_version {} of version {}: give an earlier version, or 0 for none", run_id,
                            base_version, version));
}

Status check_versions(const SnapshotWrite& write) {
    const SnapshotInfo& info = write.snapshot.info;
    if (write.expected_version < 0) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("run \"{}\": expected_version is {}: give a head's version, or 0 for a new run",
                                info.run_id, write.expected_version));
    }
    if (info.version <= write.expected_version) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("run \"{}\": version {} does not grow: give one above expected_version {}", info.run_id,
                                info.version, write.expected_version));
    }
    if (info.parent_version < 0 || info.parent_version >= info.version) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("run \"{}\": parent_version {} of version {}: give an earlier version, or 0 for none",
                                info.run_id, info.parent_version, info.version));
    }
    return check_base(info.run_id, info.version, info.base_version);
}

Status check_epoch(std::string_view run_id, const LeaseWrite& write) {
    const Lease& lease = write.lease;
    const bool is_taken = !lease.owner.empty() && lease.owner != write.expected.owner;
    const bool goes_on = is_taken ? lease.epoch > write.expected.epoch : lease.epoch >= write.expected.epoch;
    if (goes_on && lease.epoch >= 1) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\": epoch {} of a lease after epoch {}: give {} one, and at least 1", run_id,
                            lease.epoch, write.expected.epoch, is_taken ? "a larger" : "no smaller"));
}

// ---- the batch against the facts ----

std::unexpected<Error> moved_head_error(const SnapshotWrite& write, std::int64_t head_version) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\" is at version {}, not at the expected {}",
                                                  write.snapshot.info.run_id, head_version, write.expected_version));
}

std::unexpected<Error> taken_id_error(const SnapshotWrite& write) {
    return fail(ErrorCode::kAlreadyExists, fmt::format("snapshot_id \"{}\" is taken in run \"{}\"",
                                                       write.snapshot.info.snapshot_id, write.snapshot.info.run_id));
}

std::unexpected<Error> missing_base_error(std::string_view run_id, std::int64_t version, std::int64_t base_version) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\": version {}, the base of version {}, is not there",
                                                  run_id, base_version, version));
}

std::unexpected<Error> missing_snapshot_error(std::string_view run_id, const FrameRewrite& rewrite) {
    return fail(ErrorCode::kConflict,
                fmt::format("run \"{}\": version {}, to be rewritten, is not there", run_id, rewrite.version));
}

std::unexpected<Error> head_deletion_error(std::string_view run_id, std::int64_t version) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\": version {} is its head, which goes only with the run", run_id, version));
}

std::unexpected<Error> needed_snapshot_error(std::string_view run_id, std::int64_t version, std::int64_t needed_by) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\": version {}, to be deleted, is needed by version {}",
                                                  run_id, version, needed_by));
}

std::unexpected<Error> another_run_error(std::string_view run_id, const RunDeletion& deletion) {
    return fail(ErrorCode::kConflict,
                fmt::format("run \"{}\", to be deleted, has no version {} with the given id any more", run_id,
                            deletion.version));
}

// The answer is the same for thread and user: a caller learns nothing about the owner.
Status check_owner(const SnapshotWrite& write, std::string_view thread_id, std::string_view user_id) {
    const SnapshotInfo& info = write.snapshot.info;
    if (info.thread_id == thread_id && info.user_id == user_id) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\" belongs to another thread or user than \"{}\" and \"{}\": a run keeps those of "
                            "its first snapshot",
                            info.run_id, info.thread_id, info.user_id));
}

Status check_lease(std::string_view run_id, const LeaseWrite& write, const Lease& current) {
    if (current == write.expected) return {};
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\" has {}, not the expected {}", run_id, describe(current),
                                                  describe(write.expected)));
}

bool is_named(std::string_view snapshot_id, const KnownSnapshot& known) {
    return snapshot_id.empty() || snapshot_id == known.snapshot_id;
}

bool has_state(const KnownSnapshot& known, const std::optional<Checksum>& wanted) {
    return !wanted || *wanted == known.checksum;
}

void sort_each_once(std::vector<std::int64_t>& versions) {
    std::ranges::sort(versions);
    versions.erase(std::ranges::unique(versions).begin(), versions.end());
}

/// A run as it will be once a batch is applied.
class Outlook {
public:
    Outlook(const RunBatch& batch, const RunFacts& facts)
        : batch_(batch), facts_(facts), head_version_(facts.head_version) {}

    /// Applies the whole batch to it. Errors: the first rule that is broken.
    Status apply();
    /// The versions that the batch deletes.
    std::vector<std::int64_t> take_removed() { return std::move(removed_); }

private:
    Status write(const SnapshotWrite& write);
    Status rewrite(const FrameRewrite& rewrite);
    Status remove();
    Status check_is_same(const RunDeletion& deletion) const;
    const KnownSnapshot* find(std::int64_t version) const;
    bool has_base(std::int64_t base_version, std::string_view snapshot_id,
                  const std::optional<Checksum>& checksum) const;
    bool deletes(const SnapshotDeletion& deletion) const;
    bool is_removed(std::int64_t version) const { return std::ranges::binary_search(removed_, version); }
    Status check_needs() const;

    const RunBatch& batch_;
    const RunFacts& facts_;
    std::int64_t head_version_;
    std::map<std::int64_t, KnownSnapshot> changed_;  // written or rewritten
    std::vector<std::int64_t> removed_;              // ascending
};

Status Outlook::apply() {
    if (batch_.lease) {
        if (Status status = check_lease(batch_.run_id, *batch_.lease, facts_.lease); !status) return status;
    }
    for (const SnapshotWrite& each : batch_.writes) {
        if (Status status = write(each); !status) return status;
    }
    for (const FrameRewrite& each : batch_.rewrites) {
        if (Status status = rewrite(each); !status) return status;
    }
    if (Status status = remove(); !status) return status;
    return batch_.run_deletion ? check_is_same(*batch_.run_deletion) : Status{};
}

// Returns null if there is none.
const KnownSnapshot* Outlook::find(std::int64_t version) const {
    if (const auto changed = changed_.find(version); changed != changed_.end()) return &changed->second;
    const auto found = facts_.snapshots.find(version);
    return found == facts_.snapshots.end() ? nullptr : &found->second;
}

bool Outlook::has_base(std::int64_t base_version, std::string_view snapshot_id,
                       const std::optional<Checksum>& checksum) const {
    if (base_version == 0) return true;
    const KnownSnapshot* base = find(base_version);
    return base != nullptr && is_named(snapshot_id, *base) && has_state(*base, checksum);
}

Status Outlook::write(const SnapshotWrite& write) {
    const SnapshotInfo& info = write.snapshot.info;
    if (facts_.head_version != 0) {
        if (Status status = check_owner(write, facts_.thread_id, facts_.user_id); !status) return status;
        const auto taken = std::ranges::find(facts_.taken_ids, info.snapshot_id);
        if (taken != facts_.taken_ids.end()) return taken_id_error(write);
    }
    const Lease& lease = batch_.lease ? batch_.lease->lease : facts_.lease;
    if (write.lease && *write.lease != lease) return executed_by_another_error(info.run_id, *write.lease, lease);
    if (head_version_ != write.expected_version) return moved_head_error(write, head_version_);
    if (!has_base(info.base_version, write.base_snapshot_id, write.base_checksum)) {
        return missing_base_error(info.run_id, info.version, info.base_version);
    }
    head_version_ = info.version;
    if (!prunes(batch_) && &write == &batch_.writes.back()) return {};  // nothing after it needs it
    changed_[info.version] = {
        .snapshot_id = info.snapshot_id, .base_version = info.base_version, .checksum = info.checksum};
    return {};
}

Status Outlook::rewrite(const FrameRewrite& rewrite) {
    const KnownSnapshot* found = find(rewrite.version);
    const bool is_there =
        found != nullptr && is_named(rewrite.snapshot_id, *found) && has_state(*found, rewrite.checksum);
    if (!is_there) return missing_snapshot_error(batch_.run_id, rewrite);
    if (!has_base(rewrite.base_version, {}, rewrite.base_checksum)) {
        return missing_base_error(batch_.run_id, rewrite.version, rewrite.base_version);
    }
    changed_[rewrite.version] = {
        .snapshot_id = found->snapshot_id, .base_version = rewrite.base_version, .checksum = found->checksum};
    return {};
}

bool Outlook::deletes(const SnapshotDeletion& deletion) const {
    const KnownSnapshot* known = find(deletion.version);
    return known != nullptr && is_named(deletion.snapshot_id, *known);
}

Status Outlook::remove() {
    if (batch_.deletions.empty()) return {};
    for (const SnapshotDeletion& deletion : batch_.deletions) {
        if (!deletes(deletion)) continue;
        if (deletion.version == head_version_) return head_deletion_error(batch_.run_id, deletion.version);
        removed_.push_back(deletion.version);
    }
    sort_each_once(removed_);
    return check_needs();
}

Status Outlook::check_needs() const {
    std::map<std::int64_t, KnownSnapshot> snapshots = changed_;
    snapshots.insert(facts_.snapshots.begin(), facts_.snapshots.end());
    for (const auto& [version, known] : snapshots) {
        if (is_removed(version) || !is_removed(known.base_version)) continue;
        return needed_snapshot_error(batch_.run_id, known.base_version, version);
    }
    return {};
}

Status Outlook::check_is_same(const RunDeletion& deletion) const {
    if (head_version_ == 0 || deletion.version == 0) return {};
    const KnownSnapshot* known = is_removed(deletion.version) ? nullptr : find(deletion.version);
    if (known != nullptr && known->snapshot_id == deletion.snapshot_id) return {};
    return another_run_error(batch_.run_id, deletion);
}

Status check_follows(const SnapshotWrite& write, const SnapshotWrite& previous) {
    const SnapshotInfo& before = previous.snapshot.info;
    if (write.expected_version != before.version) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("run \"{}\": expected_version {} of a later write in the batch: give {}, the version "
                                "of the write before it",
                                before.run_id, write.expected_version, before.version));
    }
    return check_owner(write, before.thread_id, before.user_id);
}

// Rules between writes; a batch of one has none.
Status check_chain(const std::vector<SnapshotWrite>& writes) {
    std::set<std::string_view> ids;
    for (std::size_t i = 0; i < writes.size(); ++i) {
        if (i > 0) {
            if (Status status = check_follows(writes[i], writes[i - 1]); !status) return status;
        }
        if (!ids.insert(writes[i].snapshot.info.snapshot_id).second) return taken_id_error(writes[i]);
    }
    return {};
}

}  // namespace

bool names_lease(const RunBatch& batch) {
    return batch.lease ||
           std::ranges::any_of(batch.writes, [](const SnapshotWrite& write) { return write.lease.has_value(); });
}

bool prunes(const RunBatch& batch) {
    return !batch.rewrites.empty() || !batch.deletions.empty() || batch.run_deletion;
}

Status check_batch(const RunBatch& batch) {
    if (Status status = require(batch.run_id, "run_id"); !status) return status;
    if (batch.lease) {
        if (Status status = check_epoch(batch.run_id, *batch.lease); !status) return status;
    }
    for (const SnapshotWrite& write : batch.writes) {
        if (Status status = check_ids(write.snapshot.info, batch); !status) return status;
        if (Status status = check_versions(write); !status) return status;
    }
    for (const RecoveryRecord& recovery : batch.recoveries) {
        if (Status status = require_run(recovery.run_id, "run_id of a recovery record", batch); !status) return status;
    }
    for (const FrameRewrite& rewrite : batch.rewrites) {
        if (Status status = check_base(batch.run_id, rewrite.version, rewrite.base_version); !status) return status;
    }
    return batch.writes.size() > 1 ? check_chain(batch.writes) : Status{};
}

std::vector<Status> check_batches(std::span<const RunBatch> batches) {
    std::vector<Status> answers;
    answers.reserve(batches.size());
    std::unordered_set<std::string_view, TextHash> seen;
    for (const RunBatch& batch : batches) {
        const bool is_first = batches.size() == 1 || seen.insert(batch.run_id).second;
        answers.push_back(
            is_first ? check_batch(batch)
                     : fail(ErrorCode::kInvalidArgument,
                            fmt::format("run \"{}\" has two batches in one commit: give it one", batch.run_id)));
    }
    return answers;
}

std::vector<std::int64_t> versions_named_by_deletions(const RunBatch& batch) {
    std::vector<std::int64_t> versions;
    versions.reserve(batch.deletions.size());
    for (const SnapshotDeletion& deletion : batch.deletions) versions.push_back(deletion.version);
    sort_each_once(versions);
    return versions;
}

Result<std::vector<std::int64_t>> check_batch(const RunBatch& batch, const RunFacts& facts) {
    Outlook outlook(batch, facts);
    if (Status status = outlook.apply(); !status) return std::unexpected(std::move(status.error()));
    return outlook.take_removed();
}

std::unexpected<Error> executed_by_another_error(std::string_view run_id, const Lease& lease, const Lease& current) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\" is executed by another now: it has {}, the save {}",
                                                  run_id, describe(current), describe(lease)));
}

std::unexpected<Error> broken_chain_error(std::string_view run_id, std::int64_t version, std::int64_t base_version) {
    return fail(ErrorCode::kCorrupt, fmt::format("run \"{}\": version {} needs version {}, which is missing", run_id,
                                                 version, base_version));
}

std::unexpected<Error> overlong_chain_error(const SnapshotInfo& info) {
    return fail(ErrorCode::kCorrupt, fmt::format("run \"{}\": version {} needs more than {} frames, the most that "
                                                 "CAIRN_CHAIN_FRAMES_MAX accepts",
                                                 info.run_id, info.version, kChainFramesUpper));
}

bool has_members(std::string_view metadata, const std::vector<std::pair<std::string, std::string>>& wanted) {
    if (wanted.empty()) return true;
    if (metadata.empty()) return false;
    const State object = State::from_normal_text(std::string(metadata));
    return std::ranges::all_of(wanted,
                               [&](const auto& member) { return object.member(member.first) == member.second; });
}

}  // namespace cairn
