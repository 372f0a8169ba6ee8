#pragma once

// The tables, version by version, and how a database gets from any older version to the newest.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>

#include <cstdint>
#include <span>

namespace cairn::sqlite {

/// "CRN1" in the database's header: this file is ours. Part of the stored format.
inline constexpr std::int64_t kApplicationId = 0x43524E31;

/// Where the index `snapshots_by_id` keeps a snapshot id: a UUID under those of its bytes in which UUIDs of one run
/// differ, whichever of their versions they are (so that the index holds 6 bytes of the 16), any other id as it is.
/// Part of the stored format.
#define CAIRN_ID_PLACE(id) "CASE typeof(" id ") WHEN 'blob' THEN substr(" id ", 3, 6) ELSE " id " END"

/// What leads from schema `version - 1` to `version`.
struct Migration {
    int version;
    const char* sql;
    /// Temporary views by which the queries of `version` read `version - 1`, for who may not write; null if they
    /// cannot. On top of the views of the versions before, if it is older still.
    const char* views_of_older = nullptr;
};

/// All of them, from an empty database (version 0) on. One that was ever released is never changed.
std::span<const Migration> migrations();

/// The schema version that the database has. Errors: kIncompatible (newer than the last of `known`, or below 0).
[[nodiscard]] Result<int> schema_version(Connection& connection, std::span<const Migration> known);

/// Makes an older schema, which must be cairn's, look like the newest on this connection, and changes nothing in the
/// file. Errors: kIncompatible, kCorrupt (as `check_schema`), kReadOnly (it cannot be read without a migration).
[[nodiscard]] Status read_as_newest(Connection& connection, std::span<const Migration> known);

/// Applies what is missing, all of it or nothing, and returns the version. Safe when several processes do it at once.
/// Errors: kIncompatible, kCorrupt (as `check_schema`).
[[nodiscard]] Result<int> bring_up_to_date(Connection& connection, std::span<const Migration> known);

}  // namespace cairn::sqlite
