#pragma once

// Looking at the store as a whole: how much there is, and whether it is sound.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <cstdint>
#include <filesystem>

namespace cairn::sqlite {

/// Counts and sums; not `store_bytes` nor `chain_frames_max`.
[[nodiscard]] Result<StoreStats> count_rows(Connection& connection);

/// How many frames each snapshot needs, its own included: the most of them.
[[nodiscard]] Result<std::uint64_t> chain_frames_max(Connection& connection);

/// Of the database and its log, as the file system has them. The lock file (-shm) is no storage and is not counted.
[[nodiscard]] std::uint64_t bytes_on_disk(const std::filesystem::path& database);

/// Damage that stops a part of the inspection is a finding; the rest goes on. Only what two readings of the file agree
/// on is damage; a page that cannot be read is an error.
[[nodiscard]] Result<CheckReport> inspect(Connection& connection, const std::filesystem::path& database);

}  // namespace cairn::sqlite
