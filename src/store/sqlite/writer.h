#pragma once

// Writing: the batches of many runs in one transaction, each of them whole or not at all.
//
// All that a batch has to know of its run is read before anything of the batch is written, and after what the batches
// before it have written: so a run that is refused has changed nothing, and needs no savepoint. Whatever fails after
// that is the engine's affair, and ends the transaction.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <span>
#include <vector>

namespace cairn::sqlite {

/// `Store::commit` on a connection that can write. `answers`: what `check_batches` says; what it refuses is passed
/// over. Waits for other writers until the connection's deadline.
[[nodiscard]] Result<std::vector<Status>> commit(Connection& connection, std::span<const RunBatch> batches,
                                                 std::vector<Status> answers);

}  // namespace cairn::sqlite
