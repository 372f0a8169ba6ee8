#pragma once

// Whether a file's schema is cairn's: somebody else may have made the file. Triggers and views of a file are switched
// off on every connection; this names what is not ours, and refuses what would still be obeyed (generated columns,
// checks, indexes on expressions) or would be missing.

#include "store/sqlite/sqlite_connection.h"
#include "store/sqlite/sqlite_schema.h"

#include <cairn/error.h>

#include <span>

namespace cairn::sqlite {

/// Holds the file's schema against that of `version`, as the migrations `known` make it. Tables, views and plain
/// indexes of a user's own are left alone. To be called in the transaction in which `version` was read, unless it is
/// the newest.
/// Errors: kCorrupt (a table or an index is missing), kIncompatible (one is not as cairn makes it, or there is a
/// trigger
///   or an index on a table of cairn's that cairn does not make): the message names it.
[[nodiscard]] Status check_schema(Connection& connection, int version, std::span<const Migration> known);

}  // namespace cairn::sqlite
