#pragma once

// Statistics and checks of a whole store.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <cstdint>
#include <filesystem>

namespace cairn::sqlite {

/// Counts and sums, except `store_bytes` and `chain_frames_max`.
[[nodiscard]] Result<StoreStats> count_rows(Connection& connection);

/// The number of frames that the snapshot with the longest chain needs, its own included.
[[nodiscard]] Result<std::uint64_t> chain_frames_max(Connection& connection);

/// Size of the database and its log in the file system. The lock file (-shm) is no storage and is not counted.
[[nodiscard]] std::uint64_t bytes_on_disk(const std::filesystem::path& database);

/// Checks the whole store. If damage stops a part of the inspection, it is a finding, and the rest goes on. Only damage
/// that two readings of the file agree on counts; a page that cannot be read is an error.
[[nodiscard]] Result<CheckReport> inspect(Connection& connection, const std::filesystem::path& database);

}  // namespace cairn::sqlite
