#pragma once

// The store in one SQLite file. It can be used without the engine's own header.

#include <cairn/error.h>
#include <cairn/store.h>

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace cairn {

namespace sqlite {
struct Migration;
}

/// Settings that only tests change.
struct SqliteSettings {
    std::size_t readers_max = 8;                         ///< Connections that read at the same time; more callers wait.
    std::span<const sqlite::Migration> migrations = {};  ///< Empty: cairn's own.
};

/// `sqlite:PATH`. Any number of processes may use one file at a time, each with any number of threads. Beside it the
/// engine keeps its log (PATH-wal) and a lock file (PATH-shm) as long as somebody has it open. Read-only opening makes
/// them too where the folder can be written, and changes nothing else. A log that belongs to another database is set
/// aside with a warning (event `store_log_set_aside`). Files that were exchanged under an open store are an error
/// (kUnavailable, or kOutcomeUnknown during a commit).
/// Forks: a child must not use its parent's store (kClosed) and has to open its own.
/// Errors: as `open_store`.
[[nodiscard]] Result<std::shared_ptr<Store>> open_sqlite_store(const std::filesystem::path& path,
                                                               const OpenOptions& options = {},
                                                               const SqliteSettings& settings = {});

}  // namespace cairn
