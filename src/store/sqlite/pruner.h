#pragma once

// Making snapshots independent, and deleting them: this applies the later members of a batch.

#include "store/sqlite/run_reading.h"
#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <cstdint>
#include <vector>

namespace cairn::sqlite {

/// Reads the facts that they need of an existing run: the snapshots that they name, and those that need a deleted one.
[[nodiscard]] Status read_facts_for_pruning(Connection& connection, const RunBatch& batch, RunReading& run);

/// Applies `batch.rewrites`, the deletion of the versions `deleted` (the result of `check_batch`), and
/// `batch.run_deletion`, in that order.
[[nodiscard]] Status prune(Connection& connection, const RunBatch& batch, const std::vector<std::int64_t>& deleted,
                           const RunReading& run);

/// Gives a few free pages at the end of the file back, in a transaction of its own. Returns their bytes, or 0 once
/// there are none. The file itself gets shorter at the next checkpoint.
[[nodiscard]] Result<std::uint64_t> give_back_pages(Connection& connection);

/// The room that the database needs to take in the content of its log.
[[nodiscard]] Result<std::uint64_t> bytes_missing_for_log(Connection& connection);

}  // namespace cairn::sqlite
