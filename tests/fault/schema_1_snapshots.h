#pragma once

// The content of tests/fault/data/schema_1.db.zst: every kind of field, in full frames of both kinds. The build of the
// last commit with schema 1 (5a96d37) wrote the file from these snapshots. Then it was closed and packed with
// `zstd -19`. It is never written again.

#include "support/make.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

namespace cairn::test {

/// Makes a state that is long enough to be compressed, and different for each version.
inline std::string schema_1_text(const std::string& run_id, std::int64_t version) {
    std::string text = fmt::format(R"({{"run":"{}","version":{},"messages":[)", run_id, version);
    for (std::int64_t i = 0; i < version * 40; ++i) text += fmt::format(R"("message {} of {}",)", i * i, version);
    return text + R"("end"]})";
}

inline Snapshot schema_1_snapshot(const std::string& run_id, std::int64_t version, bool compressed) {
    const std::string text = schema_1_text(run_id, version);
    Snapshot snapshot = make_snapshot(run_id, version, text);
    if (compressed) snapshot.frame = encode_full_frame(text, snapshot.info.checksum).value();
    return snapshot;
}

inline std::vector<Snapshot> schema_1_snapshots() {
    std::vector<Snapshot> snapshots;
    for (std::int64_t version = 1; version <= 6; ++version) {
        snapshots.push_back(schema_1_snapshot("usual", version, true));
        snapshots.back().info.snapshot_id = fmt::format("019b7ca9-94bb-7f14-86a6-97f616299b4{}", version);
        snapshots.back().info.agent_phase = version < 4 ? AgentPhase::kTriage : AgentPhase::kReporting;
        snapshots.back().info.checkpoint_type = version == 6 ? CheckpointType::kPipelineComplete : CheckpointType();
    }
    for (std::int64_t version = 1; version <= 3; ++version) {
        snapshots.push_back(schema_1_snapshot("plain", version, false));
        SnapshotInfo& info = snapshots.back().info;
        info.thread_id = "another thread";
        info.user_id = "\xC3\xA9'\"; --";
        info.checkpoint_type = CheckpointType("it's \"odd\"");
        info.is_recovery_point = version == 2;
        info.expires_at = version == 2 ? std::nullopt : std::optional(kEpoch + std::chrono::hours(version));
        info.execution_context = version == 1 ? "" : R"({"model":"m","note":"\u0000 \ud800"})";
        info.created_at = kEpoch - std::chrono::hours(version) + std::chrono::microseconds(123'457);
        info.parent_version = version == 3 ? 1 : version - 1;
    }
    snapshots.push_back(schema_1_snapshot("gap", 7, true));
    snapshots.back().info.parent_version = 0;
    snapshots.back().info.expires_at = Timestamp::max();
    return snapshots;
}

inline std::vector<RecoveryRecord> schema_1_recoveries() {
    std::vector<RecoveryRecord> records;
    for (const auto type : {RecoveryType::kRestart, RecoveryType::kResume, RecoveryType::kRollback}) {
        records.push_back({.run_id = "plain",
                           .recovery_type = type,
                           .failure_reason = "it's \"broken\"\n",
                           .auto_recovery = type == RecoveryType::kResume,
                           .source_snapshot_id = "plain-1",
                           .result_snapshot_id = type == RecoveryType::kResume ? "" : "plain-3",
                           .result = type == RecoveryType::kResume ? "corrupt" : "recovered",
                           .detail = "version 2 was damaged",
                           .started_at = kEpoch,
                           .duration = std::chrono::microseconds(1234)});
    }
    return records;
}

}  // namespace cairn::test
