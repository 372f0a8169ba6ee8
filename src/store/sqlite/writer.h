#pragma once

// Writing: one batch, one transaction.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

namespace cairn::sqlite {

/// `Store::commit` on a connection that can write, for a batch that `check_batch` has passed. Waits for other writers
/// until the connection's deadline.
[[nodiscard]] Status commit(Connection& connection, const Batch& batch);

}  // namespace cairn::sqlite
