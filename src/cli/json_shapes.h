#pragma once

// The JSON objects that commands print of the store's records. Part of the program's interface: add, never rename.

#include "cli/output.h"

#include <cairn/store.h>

#include <optional>
#include <string>
#include <string_view>

namespace cairn::cli {

/// One line each: what a snapshot is wherever it is stored, and `more`, what it is in this store.
std::string to_json(const SnapshotInfo& info, const Json& more);
/// A parent that is gone has no id.
std::string to_json(const SnapshotInfo& info, const std::optional<std::string>& parent_snapshot_id);
std::string to_json(const RecoveryRecord& record);
/// `more`: how it stands.
std::string to_json(const RunInfo& run, const Json& more);
std::string to_json(const ThreadInfo& thread);

/// `object` with one member more, whose value is JSON text that must not change (a state).
std::string with_member(std::string object, std::string_view name, std::string_view json_text);

}  // namespace cairn::cli
