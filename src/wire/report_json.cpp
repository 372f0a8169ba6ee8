#include "wire/report_json.h"

#include "wire/record_json.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <utility>

namespace cairn {
namespace {

double divided(std::uint64_t bytes, std::uint64_t by) {
    return by == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(by);
}

Json opaque_states(const StoreStats& stats) {
    Json types = Json::array();
    for (const auto& [type, count] : stats.opaque_states) {
        types.push_back({{"state_type", type}, {"snapshots", count.snapshots}, {"state_bytes", count.state_bytes}});
    }
    return types;
}

Json object_or_nothing(const std::optional<Error>& error) {
    return error ? error_object(*error) : Json();
}

Json step_object(const StepResult& step) {
    return {
        {"step", step.step},         {"outcome", to_string(step.outcome)},   {"attempt", step.attempt},
        {"is_saved", step.is_saved}, {"duration_us", step.duration.count()}, {"error", object_or_nothing(step.error)}};
}

}  // namespace

double compression_ratio(const StoreStats& stats) {
    return divided(stats.state_bytes, stats.payload_bytes);
}

StorageFigures::StorageFigures(const StoreStats& stats)
    : full_frames(stats.snapshots - stats.delta_frames),
      full_bytes(stats.payload_bytes - stats.delta_bytes),
      overhead_bytes(stats.store_bytes > stats.payload_bytes ? stats.store_bytes - stats.payload_bytes : 0),
      overhead_per_snapshot(divided(overhead_bytes, stats.snapshots)),
      state_to_payload(compression_ratio(stats)),
      state_to_store(divided(stats.state_bytes, stats.store_bytes)) {}

Json stats_object(const StoreStats& stats) {
    return {{"threads", stats.threads},
            {"runs", stats.runs},
            {"snapshots", stats.snapshots},
            {"state_bytes", stats.state_bytes},
            {"payload_bytes", stats.payload_bytes},
            {"store_bytes", stats.store_bytes},
            {"ratio", compression_ratio(stats)},
            {"opaque_states", opaque_states(stats)}};
}

Json storage_object(const StoreStats& stats) {
    const StorageFigures figures(stats);
    return {{"snapshots", stats.snapshots},
            {"state_bytes", stats.state_bytes},
            {"payload_bytes", stats.payload_bytes},
            {"store_bytes", stats.store_bytes},
            {"full_frames", figures.full_frames},
            {"full_bytes", figures.full_bytes},
            {"delta_frames", stats.delta_frames},
            {"delta_bytes", stats.delta_bytes},
            {"overhead_bytes", figures.overhead_bytes},
            {"overhead_bytes_per_snapshot", figures.overhead_per_snapshot},
            {"chain_frames_max", stats.chain_frames_max},
            {"forks", stats.forks},
            {"state_to_payload", figures.state_to_payload},
            {"state_to_store", figures.state_to_store}};
}

Json result_object(const PipelineResult& result) {
    Json steps = Json::array();
    for (const StepResult& step : result.steps) steps.push_back(step_object(step));
    return {{"status", to_string(result.status)},
            {"waiting_for", result.waiting_for.empty() ? Json() : Json(result.waiting_for)},
            {"is_resumed", result.is_resumed},
            {"is_saved", result.is_saved},
            {"snapshot_id", result.snapshot_id},
            {"saves", result.saves},
            {"skips", result.skips},
            {"error", object_or_nothing(result.error || result.is_saved ? result.error : result.save_error)},
            {"steps", std::move(steps)}};
}

Json entry_object(const ConfigEntry& entry) {
    return {{"variable", entry.variable},
            {"value", entry.value},
            {"origin", to_string(entry.origin)},
            {"accepts", entry.accepts},
            {"description", entry.description}};
}

std::string to_json(const CheckReport& report, bool deep) {
    Json findings = Json::array();
    for (const auto& finding : report.findings) {
        findings.push_back({{"run_id", finding.run_id},
                            {"snapshot_id", finding.snapshot_id},
                            {"problem", finding.problem},
                            {"code", error_info(finding.code).name}});
    }
    return to_line({{"ok", report.findings.empty()},
                    {"deep", deep},
                    {"runs", report.runs},
                    {"snapshots", report.snapshots},
                    {"findings", findings}});
}

std::string to_json(const StateRecoveryRequest& request, const RecoveryResult& result) {
    Json damaged = Json::array();
    for (const auto& snapshot : result.damaged) {
        damaged.push_back(
            {{"snapshot_id", snapshot.snapshot_id}, {"version", snapshot.version}, {"problem", snapshot.problem}});
    }
    return to_line({{"run_id", request.run_id},
                    {"recovery_type", to_string(request.recovery_type)},
                    {"source_snapshot_id", result.source_snapshot_id},
                    {"snapshot_id", result.snapshot_id},
                    {"version", result.version},
                    {"damaged", damaged},
                    {"duration_us", result.duration.count()}});
}

std::string to_json(const RetentionReport& report, bool dry_run) {
    return to_line({{"dry_run", dry_run},
                    {"runs_examined", report.runs_examined},
                    {"runs_deleted", report.runs_deleted},
                    {"snapshots_deleted", report.snapshots_deleted},
                    {"snapshots_rewritten", report.snapshots_rewritten},
                    {"frame_bytes_deleted", report.frame_bytes_deleted},
                    {"frame_bytes_added", report.frame_bytes_added},
                    {"store_bytes_returned", report.store_bytes_returned},
                    {"was_cancelled", report.was_cancelled}});
}

}  // namespace cairn
