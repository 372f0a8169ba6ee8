#pragma once

// Which snapshots of a run a policy lets go: a pure function of what the run's history says.

#include <cairn/retention.h>

#include <span>

namespace cairn {

/// What retention must know of a snapshot.
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

/// Marks what `policy` lets go at `now`. `entries` are the whole run's, the oldest first, so that the last is the head.
void mark_by_policy(std::span<RetentionEntry> entries, const RetentionPolicy& policy, Timestamp now);

/// Marks all but the head and what its frame needs: what can be deleted before the run as such is.
void mark_all_but_heads_chain(std::span<RetentionEntry> entries);

}  // namespace cairn
