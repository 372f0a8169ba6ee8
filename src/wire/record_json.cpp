#include "wire/record_json.h"

#include "base/base64.h"
#include "base/error_detail.h"

#include <cairn/pipeline.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace cairn {
namespace {

std::string_view text_or_null(const std::string& json_text) {
    return json_text.empty() ? "null" : std::string_view(json_text);
}

Json text_or_nothing(const std::string& text) {
    return text.empty() ? Json() : Json(text);
}

// The standing of a run's pipeline; all members are null if there is none.
Json standing_object(const RunInfo& run, Timestamp now) {
    const auto status = pipeline_status(run, now, ExecutorOptions{}.silence);
    if (!status) {
        return {{"pipeline", nullptr},         {"status", nullptr}, {"steps_completed", nullptr},
                {"steps_total", nullptr},      {"step", nullptr},   {"waiting_for", nullptr},
                {"checkpoint_age_ms", nullptr}};
    }
    const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(checkpoint_age(run, now));
    return {{"pipeline", status->pipeline},
            {"status", to_string(status->status)},
            {"steps_completed", status->steps_completed},
            {"steps_total", status->steps_total},
            {"step", status->step},
            {"waiting_for", text_or_nothing(status->waiting_for)},
            {"checkpoint_age_ms", age.count()}};
}

}  // namespace

std::string to_json(const SnapshotInfo& info, const Json& more) {
    const Json expires_at = info.expires_at ? Json(format_timestamp(*info.expires_at)) : Json();
    Json object{{"run_id", info.run_id},
                {"thread_id", info.thread_id},
                {"user_id", info.user_id},
                {"snapshot_id", info.snapshot_id},
                {"version", info.version},
                {"parent_version", info.parent_version},
                {"checkpoint_type", info.checkpoint_type.name()},
                {"agent_phase", info.agent_phase.name()},
                {"is_recovery_point", info.is_recovery_point},
                {"created_at", format_timestamp(info.created_at)},
                {"expires_at", expires_at},
                {"state_bytes", info.state_bytes},
                {"checksum", info.checksum.to_hex()}};
    object.update(more);
    return with_member(with_member(to_line(object), "execution_context", text_or_null(info.execution_context)),
                       "metadata", text_or_null(info.metadata));
}

std::string to_json(const SnapshotInfo& info, const std::optional<std::string>& parent_snapshot_id) {
    return to_json(info, Json{{"parent_snapshot_id", parent_snapshot_id ? Json(*parent_snapshot_id) : Json()},
                              {"state_type", text_or_nothing(info.state_type)},
                              {"frame_bytes", info.frame_bytes},
                              {"damage", text_or_nothing(info.damage)}});
}

std::string to_json(const RecoveryRecord& record) {
    return to_line({{"run_id", record.run_id},
                    {"recovery_type", to_string(record.recovery_type)},
                    {"failure_reason", record.failure_reason},
                    {"auto_recovery", record.auto_recovery},
                    {"source_snapshot_id", record.source_snapshot_id},
                    {"result_snapshot_id", record.result_snapshot_id},
                    {"result", record.result},
                    {"detail", record.detail},
                    {"started_at", format_timestamp(record.started_at)},
                    {"duration_us", record.duration.count()},
                    {"damage", text_or_nothing(record.damage)}});
}

std::string to_json(const RunInfo& run, Timestamp now) {
    Json object{{"run_id", run.run_id},
                {"thread_id", run.thread_id},
                {"user_id", run.user_id},
                {"head_version", run.head_version},
                {"head_snapshot_id", run.head_snapshot_id},
                {"checkpoint_type", run.checkpoint_type.name()},
                {"agent_phase", run.agent_phase.name()},
                {"created_at", format_timestamp(run.created_at)},
                {"updated_at", format_timestamp(run.updated_at)},
                {"snapshots", run.snapshots}};
    object.update(standing_object(run, now));
    object["damage"] = text_or_nothing(run.damage);
    return to_line(object);
}

std::string to_json(const ThreadInfo& thread) {
    return to_line({{"thread_id", thread.thread_id},
                    {"user_id", thread.user_id},
                    {"runs", thread.runs},
                    {"snapshots", thread.snapshots},
                    {"updated_at", format_timestamp(thread.updated_at)},
                    {"damage", text_or_nothing(thread.damage)}});
}

std::string to_json(const ThreadContext& context, Timestamp now) {
    std::string runs;
    for (const RunInfo& run : context.runs) {
        if (!runs.empty()) runs += ',';
        runs += to_json(run, now);
    }
    const Json object{{"thread_id", context.thread_id},
                      {"user_id", context.user_id},
                      {"snapshots", context.snapshots},
                      {"newest_run_id", context.newest_run_id},
                      {"newest_snapshot_id", context.newest_snapshot_id},
                      {"agent_phase", context.agent_phase.name()},
                      {"updated_at", format_timestamp(context.updated_at)}};
    return with_member(to_line(object), "runs", "[" + runs + "]");
}

std::string with_state(std::string object, const State& state) {
    if (!state.is_opaque()) return with_member(std::move(object), "state", state.text());
    const std::string typed = with_member(std::move(object), "state_type", Json(state.type_tag()).dump());
    return with_member(typed, "state_base64", fmt::format("\"{}\"", to_base64(state.text())));
}

std::chrono::microseconds checkpoint_age(const RunInfo& run, Timestamp now) {
    const Timestamp latest = std::max(now, Timestamp{});
    return latest - std::clamp(run.updated_at, Timestamp{}, latest);
}

Json receipt_object(const Receipt& receipt) {
    return {{"snapshot_id", receipt.snapshot_id},
            {"outcome", to_string(receipt.outcome)},
            {"durability", to_string(receipt.durability)},
            {"version", receipt.version}};
}

Json error_object(const Error& error) {
    return {{"code", error_info(error.code).name},
            {"message", error.message},
            {"detail", full_detail(error)},
            {"advice", error.next_step()}};
}

}  // namespace cairn
