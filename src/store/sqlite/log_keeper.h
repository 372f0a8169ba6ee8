#pragma once

// A log is used only with the database that it belongs to. The engine replays whatever lies at the log's name: one that
// was left when its database was deleted, one beside a backup that was copied over its database, one with a damaged
// frame in its middle, behind which it forgets all. Here each of these is kept under another name, and told, before the
// engine looks at it.

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

/// Held while logs of the databases in a folder are looked at and a database is given its name. Waits for others until
/// the deadline, and not at all where a folder cannot be locked.
class FolderLock {
public:
    FolderLock(const std::filesystem::path& folder, Deadline deadline);
    /// Somebody else still had it at the deadline.
    bool is_anothers() const { return is_anothers_; }
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

private:
    int descriptor_;
    bool is_anothers_ = false;
};

/// For a connection that has been opened and has not read yet. Does nothing while others use the database: then its log
/// is theirs. Errors: kReadOnly (the log would have to be set aside, and `may_write` is off), kUnavailable.
[[nodiscard]] Status keep_log(Connection& connection, const std::filesystem::path& database, bool may_write,
                              const LogSink& log);

/// For a database that is about to get its name: what lies there cannot be its. Under a FolderLock only.
[[nodiscard]] Status set_aside_leftovers(const std::filesystem::path& database, const LogSink& log);

/// What `check` is to say of the log.
[[nodiscard]] Result<std::vector<std::string>> problems_of_log(Connection& connection,
                                                               const std::filesystem::path& database);

}  // namespace cairn::sqlite
