#pragma once

// Selects the snapshots of a run that a policy deletes: a pure function of the run's history.

#include <cairn/retention.h>

#include <span>

namespace cairn {

/// The facts of a snapshot that retention needs.
struct RetentionEntry {
    std::string snapshot_id = {};
    std::int64_t version = 0;
    std::int64_t base_version = 0;
    std::uint64_t frame_bytes = 0;
    Timestamp created_at = {};
    std::optional<Timestamp> expires_at = {};
    bool is_recovery_point = false;
    bool goes = false;
};

RetentionEntry make_retention_entry(SnapshotInfo info);

/// Errors: kInvalidArgument naming the field, the value and what is accepted.
Status check_retention_policy(const RetentionPolicy& policy);
Status check_deletion_target(const DeletionTarget& target);
Status check_retention_options(const RetentionOptions& options);

/// Marks the snapshots that `policy` deletes at `now`. `entries` are those of the whole run, oldest first, so the last
/// one is the head.
void mark_by_policy(std::span<RetentionEntry> entries, const RetentionPolicy& policy, Timestamp now);

/// Marks all snapshots but the head and those that its frame needs. They can be deleted before the run itself is.
void mark_all_but_heads_chain(std::span<RetentionEntry> entries);

}  // namespace cairn
