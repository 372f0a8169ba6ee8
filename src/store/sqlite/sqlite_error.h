#pragma once

// The meaning of the engine's result codes for a caller of the store.

#include <cairn/error.h>

#include <string_view>

struct sqlite3;

namespace cairn::sqlite {

/// True if another connection is in the way; the same call may succeed in a moment.
bool is_busy(int result_code) noexcept;

/// True if nothing that the connection holds in memory can be trusted any more: close it and open another.
bool breaks_connection(int result_code) noexcept;

/// True if the engine could not compile or run a statement: the tables are not those that it was written for.
bool is_refused_statement(int result_code) noexcept;

/// Returns "PATH: no space is left", with the engine's message as the detail. `database` may be null.
Error to_error(int result_code, sqlite3* database, std::string_view path);

}  // namespace cairn::sqlite
