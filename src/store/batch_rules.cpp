#include "store/batch_rules.h"

#include "base/text_hash.h"

#include <cairn/state.h>

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

namespace cairn {
namespace {

Status require(std::string_view value, std::string_view field) {
    if (!value.empty()) return {};
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} is empty", field));
}

Status check_ids(const SnapshotInfo& info) {
    if (Status status = require(info.run_id, "run_id"); !status) return status;
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

Status check_epoch(const LeaseWrite& write) {
    const Lease& lease = write.lease;
    const bool is_taken = !lease.owner.empty() && lease.owner != write.expected.owner;
    const bool goes_on = is_taken ? lease.epoch > write.expected.epoch : lease.epoch >= write.expected.epoch;
    if (goes_on && lease.epoch >= 1) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\": epoch {} of a lease after epoch {}: give {} one, and at least 1", write.run_id,
                            lease.epoch, write.expected.epoch, is_taken ? "a larger" : "no smaller"));
}

Status check_rewrite(const FrameRewrite& rewrite) {
    if (Status status = require(rewrite.run_id, "run_id of a rewrite"); !status) return status;
    return check_base(rewrite.run_id, rewrite.version, rewrite.base_version);
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
Status check_chains(const std::vector<SnapshotWrite>& writes) {
    std::unordered_map<std::string_view, const SnapshotWrite*, TextHash> newest_of_run;
    std::set<std::pair<std::string_view, std::string_view>> ids;
    for (const SnapshotWrite& write : writes) {
        const SnapshotInfo& info = write.snapshot.info;
        const SnapshotWrite*& newest = newest_of_run[info.run_id];
        if (newest != nullptr) {
            if (Status status = check_follows(write, *newest); !status) return status;
        }
        if (!ids.emplace(info.run_id, info.snapshot_id).second) return already_exists(write);
        newest = &write;
    }
    return {};
}

}  // namespace

Status check_batch(const Batch& batch) {
    for (const LeaseWrite& write : batch.leases) {
        if (Status status = require(write.run_id, "run_id of a lease"); !status) return status;
        if (Status status = check_epoch(write); !status) return status;
    }
    for (const SnapshotWrite& write : batch.writes) {
        if (Status status = check_ids(write.snapshot.info); !status) return status;
        if (Status status = check_versions(write); !status) return status;
    }
    for (const RecoveryRecord& recovery : batch.recoveries) {
        if (Status status = require(recovery.run_id, "run_id of a recovery record"); !status) return status;
    }
    for (const FrameRewrite& rewrite : batch.rewrites) {
        if (Status status = check_rewrite(rewrite); !status) return status;
    }
    for (const SnapshotDeletion& deletion : batch.deletions) {
        if (Status status = require(deletion.run_id, "run_id of a deletion"); !status) return status;
    }
    for (const RunDeletion& deletion : batch.run_deletions) {
        if (Status status = require(deletion.run_id, "run_id of a run to delete"); !status) return status;
    }
    return batch.writes.size() > 1 ? check_chains(batch.writes) : Status{};
}

// One answer for both: who asks learns nothing of whose it is.
Status check_owner(const SnapshotWrite& write, std::string_view thread_id, std::string_view user_id) {
    const SnapshotInfo& info = write.snapshot.info;
    if (info.thread_id == thread_id && info.user_id == user_id) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\" belongs to another thread or user than \"{}\" and \"{}\": a run keeps those of "
                            "its first snapshot",
                            info.run_id, info.thread_id, info.user_id));
}

Status check_lease(const LeaseWrite& write, const Lease& current) {
    if (current == write.expected) return {};
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\" has {}, not the expected {}", write.run_id,
                                                  describe(current), describe(write.expected)));
}

Status check_lease(const SnapshotWrite& write, const Lease& current) {
    if (!write.lease || current == *write.lease) return {};
    return is_executed_by_another(write.snapshot.info.run_id, *write.lease, current);
}

std::unexpected<Error> is_executed_by_another(std::string_view run_id, const Lease& lease, const Lease& current) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\" is executed by another now: it has {}, the save {}",
                                                  run_id, describe(current), describe(lease)));
}

std::unexpected<Error> conflict(const SnapshotWrite& write, std::int64_t head_version) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\" is at version {}, not at the expected {}",
                                                  write.snapshot.info.run_id, head_version, write.expected_version));
}

std::unexpected<Error> already_exists(const SnapshotWrite& write) {
    return fail(ErrorCode::kAlreadyExists, fmt::format("snapshot_id \"{}\" is taken in run \"{}\"",
                                                       write.snapshot.info.snapshot_id, write.snapshot.info.run_id));
}

std::unexpected<Error> base_is_gone(std::string_view run_id, std::int64_t version, std::int64_t base_version) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\": version {}, the base of version {}, is not there",
                                                  run_id, base_version, version));
}

std::unexpected<Error> snapshot_is_gone(const FrameRewrite& rewrite) {
    return fail(ErrorCode::kConflict,
                fmt::format("run \"{}\": version {}, to be rewritten, is not there", rewrite.run_id, rewrite.version));
}

std::unexpected<Error> head_stays(const SnapshotDeletion& deletion) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\": version {} is its head, which goes only with the run", deletion.run_id,
                            deletion.version));
}

std::unexpected<Error> still_needed(std::string_view run_id, std::int64_t version, std::int64_t needed_by) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\": version {}, to be deleted, is needed by version {}",
                                                  run_id, version, needed_by));
}

std::unexpected<Error> is_another_run(const RunDeletion& deletion) {
    return fail(ErrorCode::kConflict,
                fmt::format("run \"{}\", to be deleted, has no version {} with the given id any more", deletion.run_id,
                            deletion.version));
}

std::unexpected<Error> chain_is_broken(std::string_view run_id, std::int64_t version, std::int64_t base_version) {
    return fail(ErrorCode::kCorrupt, fmt::format("run \"{}\": version {} needs version {}, which is missing", run_id,
                                                 version, base_version));
}

std::unexpected<Error> chain_is_too_long(const SnapshotInfo& info) {
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
