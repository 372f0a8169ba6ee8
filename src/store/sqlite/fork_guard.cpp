#include "store/sqlite/fork_guard.h"

#include "base/mutex.h"
#include "base/thread_annotations.h"
#include "store/sqlite/file_locks.h"

#include <fmt/format.h>

#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ranges>
#include <tuple>
#include <vector>

namespace cairn::sqlite {
namespace {

struct OpenFiles {
    // Held by the thread that forks, so that the child does not inherit it locked by another.
    Mutex mutex;
    // One entry per store; the parent's entries stay in the child for ever.
    std::vector<std::tuple<dev_t, ino_t, pid_t>> entries CAIRN_GUARDED_BY(mutex);
};

// The engine's own process-wide locks, in the order in which the engine takes them: it names a temporary file under
// VFS1, which needs random bytes; the first of those need a VFS from the list under MAIN, and so does a shared cache
// under OPEN; pages and memory are allocated under any of them. https://sqlite.org/c3ref/c_mutex_fast.html
constexpr std::array kEngineMutexes{SQLITE_MUTEX_STATIC_OPEN, SQLITE_MUTEX_STATIC_VFS1, SQLITE_MUTEX_STATIC_PRNG,
                                    SQLITE_MUTEX_STATIC_MAIN, SQLITE_MUTEX_STATIC_LRU,  SQLITE_MUTEX_STATIC_PMEM,
                                    SQLITE_MUTEX_STATIC_MEM};

OpenFiles& open_files();

// A lock that another thread holds during a fork stays locked in the child for ever, and the child could then open no
// store. So the forking thread takes them all.
void before_fork() CAIRN_ACQUIRE(open_files().mutex) {
    open_files().mutex.lock();
    for (const int mutex : kEngineMutexes) sqlite3_mutex_enter(sqlite3_mutex_alloc(mutex));
    file_locks::before_fork();
}

void leave_mutexes() CAIRN_RELEASE(open_files().mutex) {
    for (const int mutex : std::views::reverse(kEngineMutexes)) sqlite3_mutex_leave(sqlite3_mutex_alloc(mutex));
    open_files().mutex.unlock();
}

void after_fork_in_parent() CAIRN_RELEASE(open_files().mutex) {
    file_locks::after_fork_in_parent();
    leave_mutexes();
}

void after_fork_in_child() CAIRN_RELEASE(open_files().mutex) {
    file_locks::after_fork_in_child();
    leave_mutexes();
}

OpenFiles& open_files() {
    static OpenFiles* const kFiles = [] {
        auto* const files = new OpenFiles;  // never destroyed: stores may be closed by static destructors
        pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
        return files;
    }();
    return *kFiles;
}

}  // namespace

Result<ForkGuard> ForkGuard::enter(const std::filesystem::path& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) {
        return fail(ErrorCode::kNotFound, fmt::format("{} does not exist, or is a link to nowhere", path.native()));
    }
    const pid_t process = ::getpid();
    OpenFiles& files = open_files();
    const MutexLock lock(files.mutex);
    const bool inherited = std::ranges::any_of(files.entries, [&](const auto& entry) {
        const auto& [device, inode, opener] = entry;
        return device == status.st_dev && inode == status.st_ino && opener != process;
    });
    if (inherited) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} was open when this process was forked, and its locks do not survive that: open the "
                                "store after forking only, or start the process anew (exec, spawn)",
                                path.native()));
    }
    ForkGuard guard(path, {status.st_dev, status.st_ino}, process);
    files.entries.reserve(files.entries.size() + 1);
    file_locks::enter(path);
    files.entries.emplace_back(status.st_dev, status.st_ino, process);
    guard.entered_ = true;
    return guard;
}

void ForkGuard::leave() {
    if (!std::exchange(entered_, false) || forked()) return;
    OpenFiles& files = open_files();
    const MutexLock lock(files.mutex);
    const auto entry = std::ranges::find(files.entries, std::tuple(file_.first, file_.second, process_));
    if (entry != files.entries.end()) files.entries.erase(entry);
    file_locks::leave(path_);
}

ForkGuard::ForkGuard(ForkGuard&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::move(other.file_)),
      process_(other.process_),
      entered_(std::exchange(other.entered_, false)) {}

bool ForkGuard::forked() const {
    return ::getpid() != process_;
}

}  // namespace cairn::sqlite
