#include "values.h"

#include "errors.h"
#include "state_reader.h"

#include <pybind11/stl.h>

namespace cairn::python {

namespace py = pybind11;

namespace {

py::object optional_microseconds(const std::optional<Timestamp>& time) {
    return time ? py::object(py::int_(microseconds_of(*time))) : py::none();
}

template <class T>
py::list list_of(const std::vector<T>& values) {
    py::list list;
    for (const T& value : values) list.append(tuple_of(value));
    return list;
}

py::dict dict_of(const LatencySummary& summary) {
    py::dict dict;
    dict["count"] = summary.count;
    dict["p50_us"] = summary.p50_us;
    dict["p90_us"] = summary.p90_us;
    dict["p99_us"] = summary.p99_us;
    dict["max_us"] = summary.max_us;
    return dict;
}

py::object object_or_none(std::string_view text) {
    return text.empty() ? py::none() : object_of(text);
}

py::object type_or_none(const std::string& state_type) {
    return state_type.empty() ? py::object(py::none()) : py::object(text_of(state_type));
}

}  // namespace

py::str text_of(std::string_view text) {
    return {text.data(), text.size()};
}

py::tuple tuple_of(const Receipt& receipt) {
    return py::make_tuple(receipt.snapshot_id, to_string(receipt.outcome), to_string(receipt.durability),
                          receipt.version, receipt.frame_bytes);
}

py::tuple tuple_of(const SaveEvent& event) {
    return py::make_tuple(event.run_id, event.thread_id, event.user_id, event.checkpoint_type.name(),
                          event.agent_phase.name(), microseconds_of(event.time), event.duration.count(),
                          event.state_bytes, event.receipt ? py::object(tuple_of(*event.receipt)) : py::none(),
                          event.error ? exception_of(*event.error) : py::none(), event.is_lost);
}

py::tuple tuple_of(const SnapshotInfo& info) {
    return py::make_tuple(info.run_id, info.thread_id, info.user_id, info.snapshot_id, info.version,
                          info.parent_version, info.checkpoint_type.name(), info.agent_phase.name(),
                          info.is_recovery_point, microseconds_of(info.created_at),
                          optional_microseconds(info.expires_at), info.state_bytes, info.frame_bytes,
                          object_or_none(info.execution_context), object_or_none(info.metadata), info.damage,
                          type_or_none(info.state_type));
}

py::tuple tuple_of(const RunInfo& run) {
    return py::make_tuple(run.run_id, run.thread_id, run.user_id, run.head_version, run.head_snapshot_id,
                          run.checkpoint_type.name(), run.agent_phase.name(), microseconds_of(run.created_at),
                          microseconds_of(run.updated_at), run.snapshots, object_or_none(run.metadata), run.damage);
}

py::tuple tuple_of(const ThreadInfo& thread) {
    return py::make_tuple(thread.thread_id, thread.user_id, thread.runs, thread.snapshots,
                          microseconds_of(thread.updated_at), thread.damage);
}

py::tuple tuple_of(const ThreadContext& context) {
    return py::make_tuple(context.thread_id, context.user_id, list_of(context.runs), context.snapshots,
                          context.newest_run_id, context.newest_snapshot_id, context.agent_phase.name(),
                          microseconds_of(context.updated_at));
}

py::tuple tuple_of(const RecoveryResult& result) {
    py::list damaged;
    for (const auto& each : result.damaged) {
        damaged.append(py::make_tuple(each.snapshot_id, each.version, each.problem));
    }
    return parts_of(result.state) + py::make_tuple(result.source_snapshot_id, result.snapshot_id, result.version,
                                                   damaged, result.duration.count());
}

py::tuple tuple_of(const RecoveryRecord& record) {
    return py::make_tuple(record.run_id, to_string(record.recovery_type), record.failure_reason, record.auto_recovery,
                          record.source_snapshot_id, record.result_snapshot_id, record.result, record.detail,
                          microseconds_of(record.started_at), record.duration.count(), record.damage);
}

py::dict dict_of(const StoreStats& stats) {
    py::dict dict;
    dict["runs"] = stats.runs;
    dict["threads"] = stats.threads;
    dict["snapshots"] = stats.snapshots;
    dict["state_bytes"] = stats.state_bytes;
    dict["payload_bytes"] = stats.payload_bytes;
    dict["store_bytes"] = stats.store_bytes;
    dict["delta_frames"] = stats.delta_frames;
    dict["delta_bytes"] = stats.delta_bytes;
    dict["chain_frames_max"] = stats.chain_frames_max;
    dict["forks"] = stats.forks;
    py::dict opaque_states;
    for (const auto& [type, count] : stats.opaque_states) {
        opaque_states[py::str(type)] = py::make_tuple(count.snapshots, count.state_bytes);
    }
    dict["opaque_states"] = opaque_states;
    return dict;
}

py::dict dict_of(const CacheStats& stats) {
    py::dict dict;
    dict["cache_size"] = stats.cache_size;
    dict["cache_max_size"] = stats.cache_max_size;
    dict["cache_bytes"] = stats.cache_bytes;
    dict["cache_max_bytes"] = stats.cache_max_bytes;
    dict["deduplication_enabled"] = stats.deduplication_enabled;
    dict["compression_enabled"] = stats.compression_enabled;
    dict["cache_entries"] = stats.cache_entries;
    dict["hits"] = stats.hits;
    dict["misses"] = stats.misses;
    dict["evictions"] = stats.evictions;
    dict["skips"] = stats.skips;
    dict["bytes_saved"] = stats.bytes_saved;
    dict["critical"] = stats.critical;
    dict["fallbacks_by_cause"] = stats.fallbacks_by_cause;
    dict["saves_by_outcome"] = stats.saves_by_outcome;
    dict["queue_size"] = stats.queue_size;
    dict["queue_bytes"] = stats.queue_bytes;
    dict["batches"] = stats.batches;
    dict["batched"] = stats.batched;
    dict["failed_batches"] = stats.failed_batches;
    dict["lost"] = stats.lost;
    dict["save_latency"] = dict_of(stats.save_latency);
    dict["skip_latency"] = dict_of(stats.skip_latency);
    dict["load_latency"] = dict_of(stats.load_latency);
    return dict;
}

py::dict dict_of(const RetentionReport& report) {
    py::dict dict;
    dict["runs_examined"] = report.runs_examined;
    dict["runs_deleted"] = report.runs_deleted;
    dict["snapshots_deleted"] = report.snapshots_deleted;
    dict["snapshots_rewritten"] = report.snapshots_rewritten;
    dict["frame_bytes_deleted"] = report.frame_bytes_deleted;
    dict["frame_bytes_added"] = report.frame_bytes_added;
    dict["store_bytes_returned"] = report.store_bytes_returned;
    dict["was_cancelled"] = report.was_cancelled;
    return dict;
}

py::tuple tuple_of(const CheckReport& report) {
    py::list findings;
    for (const auto& finding : report.findings) {
        findings.append(
            py::make_tuple(finding.run_id, finding.snapshot_id, finding.problem, error_info(finding.code).name));
    }
    return py::make_tuple(report.runs, report.snapshots, findings);
}

}  // namespace cairn::python
