#pragma once

// The tables, version by version, and how a database gets from any older version to the newest.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>

#include <cstdint>
#include <span>

namespace cairn::sqlite {

/// "CRN1" in the database's header: this file is ours. Part of the stored format.
inline constexpr std::int64_t kApplicationId = 0x43524E31;

/// What leads from schema `version - 1` to `version`.
struct Migration {
    int version;
    const char* sql;
};

/// All of them, from an empty database (version 0) on. One that was ever released is never changed.
std::span<const Migration> migrations();

/// The schema version that the database has. Errors: kIncompatible (newer than the last of `known`).
[[nodiscard]] Result<int> schema_version(Connection& connection, std::span<const Migration> known);

/// Applies what is missing, all of it or nothing, and returns the version. Safe when several processes do it at once.
/// Errors: kIncompatible.
[[nodiscard]] Result<int> bring_up_to_date(Connection& connection, std::span<const Migration> known);

}  // namespace cairn::sqlite
