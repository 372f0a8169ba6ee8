#pragma once

// Checks that a file's schema is cairn's, since somebody else may have made the file. Triggers and views of a file are
// switched off on every connection. This check names what is not ours. It refuses objects that would still have an
// effect (generated columns, checks, indexes on expressions), and missing ones.

#include "store/sqlite/sqlite_connection.h"
#include "store/sqlite/sqlite_schema.h"

#include <cairn/error.h>

#include <span>

namespace cairn::sqlite {

/// Compares the file's schema with that of `version`, as the migrations `known` make it. Tables, views and plain
/// indexes of a user's own are left alone. Call it in the transaction in which `version` was read, unless it is the
/// newest.
/// Errors: kCorrupt (a table or an index is missing), kIncompatible (one is not as cairn makes it, or a table of
///   cairn's has a trigger or an index that cairn does not make): the message names it.
[[nodiscard]] Status check_schema(Connection& connection, int version, std::span<const Migration> known);

}  // namespace cairn::sqlite
