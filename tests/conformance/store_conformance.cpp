#include "conformance/store_conformance.h"

#include <fmt/format.h>

#include <limits>

namespace cairn::test {
namespace {

std::int64_t micros(Timestamp time) {
    return time.time_since_epoch().count();
}

std::string micros(const std::optional<Timestamp>& time) {
    return time ? fmt::format("{}", micros(*time)) : "none";
}

std::vector<SnapshotInfo> whole_history(Store& store, const std::string& run_id) {
    return store.history({.run_id = run_id, .limit = std::numeric_limits<std::size_t>::max()}, soon()).value();
}

std::string describe(const LeaseInfo& info) {
    return fmt::format("{} {} {}", info.lease.owner, info.lease.epoch, micros(info.heartbeat_at));
}

}  // namespace

std::string describe(const SnapshotInfo& info) {
    return fmt::format(
        "{} of run {} thread {} user {}: version {} parent {} type {} phase {} recovery_point {} created {} expires {} "
        "state_bytes {} frame_bytes {} checksum {} context {} metadata {} base {}",
        info.snapshot_id, info.run_id, info.thread_id, info.user_id, info.version, info.parent_version,
        info.checkpoint_type.name(), info.agent_phase.name(), info.is_recovery_point, micros(info.created_at),
        micros(info.expires_at), info.state_bytes, info.frame_bytes, info.checksum.to_hex(), info.execution_context,
        info.metadata, info.base_version);
}

std::string describe(const Head& head) {
    return fmt::format("{} thread {} user {}: version {} state_bytes {} checksum {} expires {}", head.snapshot_id,
                       head.thread_id, head.user_id, head.version, head.state_bytes, head.checksum.to_hex(),
                       micros(head.expires_at));
}

std::string describe(const RunInfo& run) {
    return fmt::format(
        "run {} thread {} user {}: head {} {} type {} phase {} created {} updated {} snapshots {} metadata {} lease {}",
        run.run_id, run.thread_id, run.user_id, run.head_version, run.head_snapshot_id, run.checkpoint_type.name(),
        run.agent_phase.name(), micros(run.created_at), micros(run.updated_at), run.snapshots, run.metadata,
        run.lease ? describe(*run.lease) : "none");
}

std::string describe(const ThreadInfo& thread) {
    return fmt::format("thread {} user {}: runs {} snapshots {} updated {}", thread.thread_id, thread.user_id,
                       thread.runs, thread.snapshots, micros(thread.updated_at));
}

std::string describe(const RecoveryRecord& record) {
    return fmt::format("run {} {}: reason {} auto {} source {} result {} {} detail {} started {} took {}",
                       record.run_id, to_string(record.recovery_type), record.failure_reason, record.auto_recovery,
                       record.source_snapshot_id, record.result_snapshot_id, record.result, record.detail,
                       micros(record.started_at), record.duration.count());
}

RecoveryRecord make_recovery(std::string run_id, std::string failure_reason) {
    return {.run_id = std::move(run_id),
            .failure_reason = std::move(failure_reason),
            .result = "recovered",
            .started_at = kEpoch};
}

std::string frame_of(std::string_view run_id, std::int64_t version, std::int64_t base_version) {
    return fmt::format("{} {} on {}", run_id, version, base_version);
}

Snapshot make_delta(std::string run_id, std::int64_t version, std::int64_t base_version) {
    std::string frame = frame_of(run_id, version, base_version);
    Snapshot snapshot = make_snapshot(std::move(run_id), version);
    snapshot.info.base_version = base_version;
    snapshot.info.frame_bytes = frame.size();
    snapshot.frame = std::move(frame);
    return snapshot;
}

std::vector<RunInfo> all_runs(Store& store, RunQuery query, std::size_t page_items) {
    std::vector<RunInfo> all;
    query.limit = page_items;
    do {
        Page<RunInfo> page = store.runs(query, soon()).value();
        EXPECT_LE(page.items.size(), page_items);
        EXPECT_TRUE(page.next_cursor.empty() || page.items.size() == page_items) << "a page in between is not full";
        for (RunInfo& item : page.items) all.push_back(std::move(item));
        query.cursor = page.next_cursor;
    } while (!query.cursor.empty());
    return all;
}

std::vector<ThreadInfo> all_threads(Store& store, ThreadQuery query, std::size_t page_items) {
    std::vector<ThreadInfo> all;
    query.limit = page_items;
    do {
        Page<ThreadInfo> page = store.threads(query, soon()).value();
        EXPECT_LE(page.items.size(), page_items);
        EXPECT_TRUE(page.next_cursor.empty() || page.items.size() == page_items) << "a page in between is not full";
        for (ThreadInfo& item : page.items) all.push_back(std::move(item));
        query.cursor = page.next_cursor;
    } while (!query.cursor.empty());
    return all;
}

std::vector<std::string> everything(Store& store) {
    std::vector<std::string> lines = describe(all_threads(store));
    for (const RunInfo& run : all_runs(store)) {
        lines.push_back(describe(run));
        lines.push_back(describe(store.head(run.run_id, soon()).value().value()));
        for (const SnapshotInfo& info : whole_history(store, run.run_id)) {
            const Snapshot snapshot = store.get(run.run_id, info.snapshot_id, soon()).value().value();
            EXPECT_EQ(describe(snapshot.info), describe(info));
            lines.push_back(fmt::format("{} frame {}", describe(info), Checksum::of(snapshot.frame).to_hex()));
            for (const BaseFrame& base : snapshot.bases) {
                lines.push_back(fmt::format("needs version {}: {}", base.version, Checksum::of(base.frame).to_hex()));
            }
        }
        for (std::string& line : describe(store.recovery_log(run.run_id, 1000, soon()).value())) {
            lines.push_back(std::move(line));
        }
    }
    const StoreStats stats = store.stats(soon()).value();
    lines.push_back(fmt::format("{} runs {} threads {} snapshots {} state_bytes {} payload_bytes", stats.runs,
                                stats.threads, stats.snapshots, stats.state_bytes, stats.payload_bytes));
    lines.push_back(fmt::format("{} delta_frames {} delta_bytes {} chain_frames_max {} forks", stats.delta_frames,
                                stats.delta_bytes, stats.chain_frames_max, stats.forks));
    return lines;
}

}  // namespace cairn::test
