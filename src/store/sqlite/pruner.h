#pragma once

// Making snapshots independent, and deleting them: this applies the later members of a batch.

#include "store/sqlite/run_reading.h"
#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <cstdint>

namespace cairn::sqlite {

/// Reads the facts that they need of an existing run: the snapshots that they name, and those that need a deleted one.
[[nodiscard]] Status read_facts_for_pruning(Connection& connection, const RunBatch& batch, RunReading& run);

/// Applies `batch.rewrites`, `batch.deletions` and `batch.run_deletion`, in that order, after `check_batch`.
[[nodiscard]] Status prune(Connection& connection, const RunBatch& batch, const RunReading& run);

/// Gives a few free pages at the end of the file back, in a transaction of its own. Returns their bytes, or 0 once
/// there are none. The file itself gets shorter at the next checkpoint.
[[nodiscard]] Result<std::uint64_t> give_back_pages(Connection& connection);

/// The room that the database needs to take in the content of its log.
[[nodiscard]] Result<std::uint64_t> bytes_missing_for_log(Connection& connection);

}  // namespace cairn::sqlite
