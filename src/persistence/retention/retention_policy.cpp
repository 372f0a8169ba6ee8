#include "persistence/retention/retention_policy.h"

#include "persistence/save/request_rules.h"

#include <fmt/format.h>

#include <utility>

namespace cairn {
namespace {

Status check_owners(const std::optional<std::string>& run_id, const std::optional<std::string>& thread_id,
                    const std::optional<std::string>& user_id) {
    for (const auto& [field, id] : {std::pair("run_id", &run_id), {"thread_id", &thread_id}, {"user_id", &user_id}}) {
        if (!*id) continue;
        if (Status status = check_id(field, **id); !status) return status;
    }
    return {};
}

// Snapshots created before this time are too old. Saturates: with an age of centuries no snapshot is too old.
std::optional<Timestamp> oldest_to_keep(const RetentionPolicy& policy, Timestamp now) {
    if (!policy.age_max) return std::nullopt;
    return now < Timestamp::min() + *policy.age_max ? Timestamp::min() : now - *policy.age_max;
}

}  // namespace

RetentionEntry make_retention_entry(SnapshotInfo info) {
    return {.snapshot_id = std::move(info.snapshot_id),
            .version = info.version,
            .base_version = info.base_version,
            .frame_bytes = info.frame_bytes,
            .created_at = info.created_at,
            .expires_at = info.expires_at,
            .is_recovery_point = info.is_recovery_point};
}

Status check_retention_policy(const RetentionPolicy& policy) {
    if (policy.keep_last && *policy.keep_last == 0) {
        return fail(ErrorCode::kInvalidArgument, "keep_last is 0: give at least 1, as a run's head never goes");
    }
    if (policy.age_max && *policy.age_max < std::chrono::microseconds::zero()) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("age_max is {} microseconds: give 0 or more", policy.age_max->count()));
    }
    return check_owners(policy.run_id, policy.thread_id, policy.user_id);
}

Status check_deletion_target(const DeletionTarget& target) {
    if (!target.run_id && !target.thread_id && !target.user_id) {
        return fail(ErrorCode::kInvalidArgument, "no target: give a run_id, a thread_id or a user_id");
    }
    return check_owners(target.run_id, target.thread_id, target.user_id);
}

Status check_retention_options(const RetentionOptions& options) {
    if (options.snapshots_per_commit > 0) return {};
    return fail(ErrorCode::kInvalidArgument, "snapshots_per_commit is 0: give at least 1");
}

void mark_by_policy(std::span<RetentionEntry> entries, const RetentionPolicy& policy, Timestamp now) {
    const std::optional<Timestamp> oldest = oldest_to_keep(policy, now);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        RetentionEntry& entry = entries[i];
        const std::size_t newer = entries.size() - 1 - i;
        const bool is_kept = newer == 0 || (entry.is_recovery_point && !policy.include_recovery_points);
        const bool is_one_too_many = policy.keep_last && newer >= *policy.keep_last;
        const bool is_too_old = oldest && entry.created_at < *oldest;
        const bool has_expired = policy.expired && entry.expires_at && *entry.expires_at <= now;
        entry.goes = !is_kept && (is_one_too_many || is_too_old || has_expired);
    }
}

void mark_all_but_heads_chain(std::span<RetentionEntry> entries) {
    if (entries.empty()) return;
    std::int64_t needed = entries.back().version;
    for (std::size_t i = entries.size(); i-- > 0;) {
        entries[i].goes = entries[i].version != needed;
        if (!entries[i].goes) needed = entries[i].base_version;
    }
}

}  // namespace cairn
