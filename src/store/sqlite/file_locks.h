#pragma once

// Locks that belong to an open file and not to the process. The engine takes POSIX locks. The system drops all POSIX
// locks of a process on a file as soon as any part of the process closes any descriptor of the file: a backup with
// `cp`-like code, a checksum, an upload. Another process then takes the store for unused and deletes the log that the
// first one still writes. So the lock calls for a store and its lock file (-shm) go to one descriptor of ours for each,
// as locks of an open file description (F_OFD_SETLK). These exclude other processes' POSIX locks as before.
//
// This replaces three system calls of the engine's own "unix" VFS (sqlite3_vfs::xSetSystemCall), which all connections
// of the process share. Calls for any other file pass through unchanged. A program's own connection to a store's file
// is redirected in the same way, so that the engine's notes about the locks of that file stay true.

#include <filesystem>
#include <optional>

#include <sys/types.h>

namespace cairn::sqlite::file_locks {

/// From now on, we take the locks of this database when the engine opens it. `database` is the canonical path; the
/// engine must open it by that path. Call it once for each store that is opened, and `leave` as often.
void enter(const std::filesystem::path& database);
void leave(const std::filesystem::path& database) noexcept;

/// Says whether other processes have the files open, by the locks that a connection that uses the log always has. A
/// value is nothing where it cannot be told.
struct Others {
    std::optional<bool> on_database = {};
    bool alone_on_database = false;  ///< One of them keeps all others out.
    std::optional<bool> on_lock_file = {};
    bool in_this_process = false;  ///< The engine has the database open here more than once.
};
[[nodiscard]] Others others_on(const std::filesystem::path& database) noexcept;

/// Takes again the lock that an open connection to this database file always has, where the lock stays with the process
/// (which already had its own connections to the file): closing any descriptor of the file has dropped it. Returns
/// false if others keep everybody out by now, so the lock is lost.
[[nodiscard]] bool hold(dev_t device, ino_t inode) noexcept;

/// Says whether the engine has this very file open in this process as the database's lock file. True where it cannot be
/// told.
[[nodiscard]] bool has_lock_file(const std::filesystem::path& database, dev_t device, ino_t inode) noexcept;

// Handlers around a fork. In the child, none of our mutexes stays locked. The child gives up its share of the parent's
// file locks, which would otherwise live on in it after the parent's death.
void before_fork();
void after_fork_in_parent();
void after_fork_in_child();

}  // namespace cairn::sqlite::file_locks
