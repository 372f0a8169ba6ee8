#pragma once

// What the engine's result codes mean to a caller of the store.

#include <cairn/error.h>

#include <string_view>

struct sqlite3;

namespace cairn::sqlite {

/// Another connection is in the way; the same call may succeed in a moment.
bool is_busy(int result_code) noexcept;

/// After this, nothing that the connection holds in memory can be trusted: close it and open another.
bool breaks_connection(int result_code) noexcept;

/// "PATH: no space is left", with what the engine said as the detail. `database` may be null.
Error to_error(int result_code, sqlite3* database, std::string_view path);

}  // namespace cairn::sqlite
