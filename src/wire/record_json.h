#pragma once

// The JSON objects of the public types, as commands print them and events carry them. Part of the interface: add
// members, never rename them.

#include "wire/json_line.h"

#include <cairn/error.h>
#include <cairn/persistence.h>
#include <cairn/store.h>

#include <chrono>
#include <optional>
#include <string>

namespace cairn {

/// One line each. `info` is the same wherever the snapshot is stored; `more` belongs to this store.
std::string to_json(const SnapshotInfo& info, const Json& more);
/// A missing parent has no id.
std::string to_json(const SnapshotInfo& info, const std::optional<std::string>& parent_snapshot_id);
std::string to_json(const RecoveryRecord& record);
/// With its pipeline's standing at `now`; null for a run without a pipeline.
std::string to_json(const RunInfo& run, Timestamp now);
std::string to_json(const ThreadInfo& thread);
std::string to_json(const ThreadContext& context, Timestamp now);

/// Returns `object` with the state as it is: member "state", or, for an opaque state, "state_type" and "state_base64".
std::string with_state(std::string object, const State& state);

/// The time since the run's head was saved; 0 if `now` is before that, by a clock that is behind its writer's.
std::chrono::microseconds checkpoint_age(const RunInfo& run, Timestamp now);

/// As members of another object.
Json receipt_object(const Receipt& receipt);
Json error_object(const Error& error);

}  // namespace cairn
