#pragma once

// Locks that belong to an open file and not to the process. The engine takes POSIX locks, and the system drops all of
// a process's POSIX locks on a file as soon as any part of that process closes any descriptor of the file: a backup
// with `cp`-like code, a checksum, an upload. Another process then takes the store for unused and deletes the log that
// the first one still writes. So the lock calls for a store and its lock file (-shm) go to one descriptor of ours for
// each, as locks of an open file description (F_OFD_SETLK), which exclude other processes' POSIX locks as before.
//
// This replaces three of the system calls of the engine's own "unix" VFS (sqlite3_vfs::xSetSystemCall), which all
// connections of the process share; calls for any other file pass through unchanged. A program's own connection to a
// store's file is led the same way, so that the engine's notes about the locks of that file stay true.

#include <filesystem>
#include <optional>

#include <sys/types.h>

namespace cairn::sqlite::file_locks {

/// From now on, the locks of this database are ours when the engine opens it. `database` is the canonical path, in
/// which the engine opens it too. Once for each store that is opened, and `leave` as often.
void enter(const std::filesystem::path& database);
void leave(const std::filesystem::path& database) noexcept;

/// Whether other processes have the files open, by where a connection that uses the log always has a lock. Nothing
/// where that cannot be told.
struct Others {
    std::optional<bool> on_database = {};
    bool alone_on_database = false;  ///< One of them keeps everybody else out.
    std::optional<bool> on_lock_file = {};
    bool in_this_process = false;  ///< The engine has the database open here more than once.
};
[[nodiscard]] Others others_on(const std::filesystem::path& database) noexcept;

/// Takes the lock that an open connection to this database file always has once more, where it stays with the process
/// (which had connections of its own to the file before): closing any descriptor of the file has dropped it. False:
/// others keep everybody out by now, so it has been lost.
[[nodiscard]] bool hold(dev_t device, ino_t inode) noexcept;

/// Whether the engine has this very file open in this process as the database's lock file. True where it cannot be
/// told.
[[nodiscard]] bool has_lock_file(const std::filesystem::path& database, dev_t device, ino_t inode) noexcept;

// Around a fork: nothing of ours is held locked in the child, and the child gives up its share of the parent's locks,
// which would otherwise outlive the parent in it.
void before_fork();
void after_fork_in_parent();
void after_fork_in_child();

}  // namespace cairn::sqlite::file_locks
