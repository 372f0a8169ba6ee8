#pragma once

// The tables of each schema version, and the migrations from any older version to the newest.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>

#include <cstdint>
#include <span>

namespace cairn::sqlite {

/// "CRN1" in the database's header: this file is ours. Part of the stored format.
inline constexpr std::int64_t kApplicationId = 0x43524E31;

/// The place where the index `snapshots_by_id` keeps a snapshot id. A UUID is under those of its bytes in which UUIDs
/// of one run differ, whichever version of UUID they are (so the index holds 6 of the 16 bytes). Any other id is stored
/// as it is. Part of the stored format.
#define CAIRN_ID_PLACE(id) "CASE typeof(" id ") WHEN 'blob' THEN substr(" id ", 3, 6) ELSE " id " END"

/// The step from schema `version - 1` to `version`.
struct Migration {
    int version;
    const char* sql;
    /// Temporary views through which the queries of `version` read `version - 1`, for connections that may not write;
    /// null if that is impossible. If the file is older still, they build on the views of the versions before.
    const char* views_of_older = nullptr;
};

/// All migrations, starting from an empty database (version 0). A released one is never changed.
std::span<const Migration> migrations();

/// The schema version of the database. Errors: kIncompatible (newer than the last of `known`, or below 0).
[[nodiscard]] Result<int> schema_version(Connection& connection, std::span<const Migration> known);

/// Makes an older schema, which must be cairn's, look like the newest on this connection, and changes nothing in the
/// file. Errors: kIncompatible, kCorrupt (as `check_schema`), kReadOnly (it cannot be read without a migration).
[[nodiscard]] Status read_as_newest(Connection& connection, std::span<const Migration> known);

/// Applies all missing migrations or none, and returns the version. Safe when several processes do it at once.
/// Errors: kIncompatible, kCorrupt (as `check_schema`).
[[nodiscard]] Result<int> bring_up_to_date(Connection& connection, std::span<const Migration> known);

}  // namespace cairn::sqlite
