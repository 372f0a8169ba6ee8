#pragma once

// Writing: commits the batches of many runs in one transaction, each as a whole or not at all.
//
// All facts about a batch's run are read before anything of the batch is written, and after what the batches before it
// have written. So a refused run has changed nothing and needs no savepoint. A failure after that is the engine's and
// ends the transaction. If it concerns one run (a value that is too large, a damaged page), a new transaction applies
// the batches of the others.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <span>
#include <vector>

namespace cairn::sqlite {

/// False if the batches are all refused or empty.
bool has_work(std::span<const RunBatch> batches, const std::vector<Status>& answers);

/// `Store::commit` on a connection that can write. `answers`: the result of `check_batches`; the batches that it
/// refuses are skipped. Waits for other writers until the connection's deadline.
[[nodiscard]] Result<std::vector<Status>> commit(Connection& connection, std::span<const RunBatch> batches,
                                                 std::vector<Status> answers);

}  // namespace cairn::sqlite
