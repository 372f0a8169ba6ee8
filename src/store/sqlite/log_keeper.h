#pragma once

// Makes sure that a log is used only with its own database. The engine replays any file that it finds at the log's
// name: a log left by a deleted database, a log beside a backup that was copied over its database, a log with a damaged
// frame in its middle, of which it forgets everything behind the damage. This code keeps each of these under another
// name, and reports it, before the engine looks at it.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/runtime.h>
#include <cairn/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::sqlite {

/// A lock that is held while logs of the databases in a folder are examined, and while a database gets its name. Waits
/// for others until the deadline; does not wait where a folder cannot be locked.
class FolderLock {
public:
    FolderLock(const std::filesystem::path& folder, Deadline deadline);
    /// True if another holder still had it at the deadline.
    bool is_anothers() const { return is_anothers_; }
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

private:
    int descriptor_;
    bool is_anothers_ = false;
};

/// Call it for a connection that has been opened and has not read yet. Does nothing while others use the database: the
/// log is theirs then. Errors: kReadOnly (the log would have to be set aside, and `may_write` is off), kUnavailable.
[[nodiscard]] Status keep_log(Connection& connection, const std::filesystem::path& database, bool may_write,
                              const LogSink& log);

/// Keeps a copy of the log if acknowledged commits are in it behind damage. Call it before anything in the log is
/// written over or cut off that the engine does not see. The caller must hold the write lock, so that the log stays as
/// it is. Errors: kStorageFull, kUnavailable (it cannot be read or copied).
[[nodiscard]] Status keep_lost_commits(Connection& connection, const std::filesystem::path& database,
                                       const LogSink& log);

/// Call it for a database that is about to get its name: a log there cannot belong to it. Only under a FolderLock.
[[nodiscard]] Status set_aside_leftovers(const std::filesystem::path& database, const LogSink& log);

/// The problems of the log that `check` reports.
[[nodiscard]] Result<std::vector<std::string>> problems_of_log(Connection& connection,
                                                               const std::filesystem::path& database);

}  // namespace cairn::sqlite
