#include "store/sqlite/file_locks.h"

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <fmt/format.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <fstream>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::sqlite::file_locks {
namespace {

constexpr std::string_view kLockFileSuffix = "-shm";

// The bytes on which connections that use the log have a shared lock as long as they are open.
// https://sqlite.org/walformat.html
constexpr off_t kDatabaseLocks = 0x40000002;
constexpr off_t kDatabaseLocksCount = 510;
constexpr off_t kLockFileInUse = 128;

/// A file whose locks are taken through one descriptor of ours.
struct LockedFile {
    dev_t device = 0;
    ino_t inode = 0;
    int descriptor = -1;           // set only if `led`
    bool led = false;              // false: it keeps the process's own locks, which closing a descriptor would drop
    std::size_t engine_files = 0;  // number of the engine's descriptors
};

/// The calls that the engine would make.
struct SystemCalls {
    int (*open)(const char*, int, int) = nullptr;
    int (*close)(int) = nullptr;
    int (*fcntl)(int, int, ...) = nullptr;
};

struct Table {
    bool is_ours(std::string_view path) const CAIRN_REQUIRES(mutex);
    LockedFile* find(dev_t device, ino_t inode) const CAIRN_REQUIRES(mutex);
    LockedFile* find(const std::string& path) const CAIRN_REQUIRES(mutex);
    /// Makes room for a database and its lock file.
    void prepare() CAIRN_REQUIRES(mutex);
    /// Adds the file behind the engine's `descriptor`. Null: it cannot be opened once more; see errno.
    LockedFile* add(const char* path, int descriptor, const struct stat& status) CAIRN_REQUIRES(mutex);
    /// Finds the file behind an engine's descriptor. `path`: null unless it is being opened now. Null with errno on
    /// failure.
    LockedFile* file_of(int descriptor, const char* path) CAIRN_REQUIRES(mutex);
    void forget(int descriptor) CAIRN_REQUIRES(mutex);
    void forget_all() CAIRN_REQUIRES(mutex);

    SystemCalls system;   // written once
    mutable Mutex mutex;  // taken last of all locks and never held during a lock call
    std::vector<std::string> databases CAIRN_GUARDED_BY(mutex);  // one entry for each open store
    std::vector<std::unique_ptr<LockedFile>> files CAIRN_GUARDED_BY(mutex);
    // By the engine's descriptor; null: not looked at yet.
    std::vector<LockedFile*> by_descriptor CAIRN_GUARDED_BY(mutex);
    // Made in advance: without memory, the engine would open a file read-only.
    std::vector<std::unique_ptr<LockedFile>> spares CAIRN_GUARDED_BY(mutex);
};

Table& table() {
    static auto* const kTable = new Table;  // never destroyed: stores may be closed by static destructors
    return *kTable;
}

// The mark in `by_descriptor` for files that are not ours.
LockedFile& not_ours() {
    static LockedFile file;
    return file;
}

struct flock whole_file(short type) {
    return {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
}

// ---- the table ----

bool Table::is_ours(std::string_view path) const {
    if (path.ends_with(kLockFileSuffix)) path.remove_suffix(kLockFileSuffix.size());
    return std::ranges::find(databases, path) != databases.end();
}

LockedFile* Table::find(dev_t device, ino_t inode) const {
    const auto found =
        std::ranges::find_if(files, [&](const auto& file) { return file->device == device && file->inode == inode; });
    return found == files.end() ? nullptr : found->get();
}

LockedFile* Table::find(const std::string& path) const {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 ? find(status.st_dev, status.st_ino) : nullptr;
}

// Returns no descriptor below 3, where a write to "standard error" would go into the file.
int open_beyond_standard_streams(const char* path) {
    int descriptor = ::open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) descriptor = ::open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0 || descriptor > STDERR_FILENO) return descriptor;
    const int higher = ::fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    ::close(descriptor);
    return higher;
}

// Says whether this process has a lock of its own on a file. The system's list shows it. A lock call only shows a lock
// that is in the way, which may be another process's on the same bytes.
bool has_own_lock(ino_t inode) {
    const std::string own = fmt::format("{}", ::getpid());
    const std::string ending = fmt::format(":{}", inode);
    std::ifstream list("/proc/locks");  // "1: POSIX  ADVISORY  READ 4711 08:01:123456 128 128"
    std::string line;
    while (std::getline(list, line)) {
        std::istringstream fields(line);
        std::string number, kind, strictness, mode, process, file;
        fields >> number >> kind >> strictness >> mode >> process >> file;
        if (kind == "POSIX" && process == own && file.ends_with(ending)) return true;
    }
    return false;
}

// Returns false where the system has no such locks, and where this process has locks of the other kind on the file
// already: its earlier connections would be in our way.
bool can_be_led(int descriptor, ino_t inode) {
    struct flock conflict = whole_file(F_WRLCK);
    if (::fcntl(descriptor, F_OFD_GETLK, &conflict) != 0) return false;
    return conflict.l_type == F_UNLCK || (conflict.l_pid != ::getpid() && !has_own_lock(inode));
}

void Table::prepare() {
    constexpr std::size_t kDescriptors = 1'024;
    constexpr std::size_t kFilesOfAStore = 2;
    if (by_descriptor.size() < kDescriptors) by_descriptor.resize(kDescriptors);
    while (spares.size() < kFilesOfAStore) spares.push_back(std::make_unique<LockedFile>());
    files.reserve(files.size() + spares.size());
}

LockedFile* Table::add(const char* path, int descriptor, const struct stat& status) {
    if (spares.empty()) prepare();
    std::unique_ptr<LockedFile>& file = spares.back();
    file->led = can_be_led(descriptor, status.st_ino);
    file->descriptor = file->led ? open_beyond_standard_streams(path) : -1;
    if (file->led && file->descriptor < 0) return nullptr;
    struct stat opened = status;
    if (file->led &&
        (::fstat(file->descriptor, &opened) != 0 || opened.st_dev != status.st_dev || opened.st_ino != status.st_ino)) {
        ::close(file->descriptor);  // another file has just got this name
        return &not_ours();
    }
    file->device = status.st_dev;
    file->inode = status.st_ino;
    LockedFile* const added = files.emplace_back(std::move(file)).get();
    spares.pop_back();
    return added;
}

LockedFile* Table::file_of(int descriptor, const char* path) {
    const auto index = static_cast<std::size_t>(descriptor);
    if (index >= by_descriptor.size()) by_descriptor.resize(std::max(index + 1, 2 * by_descriptor.size()));
    if (by_descriptor[index] != nullptr) return by_descriptor[index];
    struct stat status{};
    LockedFile* file = ::fstat(descriptor, &status) == 0 ? find(status.st_dev, status.st_ino) : nullptr;
    if (file == nullptr && path != nullptr && is_ours(path)) {
        file = add(path, descriptor, status);
        if (file == nullptr) return nullptr;
    }
    if (file == nullptr) file = &not_ours();
    by_descriptor[index] = file;
    ++file->engine_files;
    return file;
}

void Table::forget(int descriptor) {
    const auto index = static_cast<std::size_t>(descriptor);
    if (descriptor < 0 || index >= by_descriptor.size()) return;
    LockedFile* const file = std::exchange(by_descriptor[index], nullptr);
    if (file == nullptr || file == &not_ours() || --file->engine_files != 0) return;
    // Unlocked first: a child that runs no fork handlers (vfork) may share it for a moment.
    struct flock unlocked = whole_file(F_UNLCK);
    if (file->led) {
        ::fcntl(file->descriptor, F_OFD_SETLK, &unlocked);
        ::close(file->descriptor);
    }
    std::erase_if(files, [&](const auto& other) { return other.get() == file; });
}

void Table::forget_all() {
    for (const auto& file : files) {
        if (file->led) ::close(file->descriptor);
    }
    databases.clear();
    by_descriptor.clear();
    files.clear();
}

// ---- replacements of the engine's system calls, which are C ----

constexpr int kItsOwn = -1;
constexpr int kFailed = -2;

// Returns the descriptor that takes the locks of this one. The caller handles bad_alloc.
int lock_descriptor_of(int descriptor, const char* path) {
    Table& all = table();
    const MutexLock lock(all.mutex);
    if (all.databases.empty() && all.files.empty()) return kItsOwn;
    const LockedFile* const file = all.file_of(descriptor, path);
    if (file == nullptr) return kFailed;
    return file->led ? file->descriptor : kItsOwn;
}

int open_file(const char* path, int flags, int mode) noexcept {
    const int descriptor = table().system.open(path, flags, mode);
    if (descriptor < 0) return descriptor;
    int problem = ENOMEM;
    try {
        if (lock_descriptor_of(descriptor, path) != kFailed) return descriptor;
        problem = errno;
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch)
    }
    table().system.close(descriptor);
    errno = problem;
    return -1;
}

int close_file(int descriptor) noexcept {
    Table& all = table();
    {
        const MutexLock lock(all.mutex);  // first: once the file is closed, another file may get its number
        all.forget(descriptor);
    }
    return all.system.close(descriptor);
}

int lock_command(int command) {
    switch (command) {
        case F_SETLK:
            return F_OFD_SETLK;
        case F_SETLKW:
            return F_OFD_SETLKW;
        default:
            return F_OFD_GETLK;
    }
}

int lock_file(int descriptor, int command, struct flock* lock) noexcept try {
    const int ours = lock_descriptor_of(descriptor, nullptr);
    if (ours < 0) return table().system.fcntl(descriptor, command, lock);
    lock->l_pid = 0;  // these locks require it
    return table().system.fcntl(ours, lock_command(command), lock);
} catch (const std::bad_alloc&) {
    errno = ENOLCK;
    return -1;
}

int control_file(int descriptor, int command, ...) {  // NOLINT(cert-dcl50-cpp): as the system's own
    va_list arguments;
    va_start(arguments, command);
    void* const argument = va_arg(arguments, void*);
    va_end(arguments);
    if (command == F_SETLK || command == F_SETLKW || command == F_GETLK) {
        return lock_file(descriptor, command, static_cast<struct flock*>(argument));
    }
    return table().system.fcntl(descriptor, command, argument);
}

// Keeps our code loaded: the engine calls into it.
void stay_loaded() {
    Dl_info where{};
    if (::dladdr(reinterpret_cast<void*>(&open_file), &where) != 0 && where.dli_fname != nullptr) {
        static_cast<void>(::dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE));
    }
}

bool install() {
    sqlite3_initialize();
    sqlite3_vfs* const vfs = sqlite3_vfs_find("unix");
    if (vfs == nullptr || vfs->iVersion < 3) return false;
    SystemCalls& system = table().system;
    system.open = reinterpret_cast<decltype(system.open)>(vfs->xGetSystemCall(vfs, "open"));
    system.close = reinterpret_cast<decltype(system.close)>(vfs->xGetSystemCall(vfs, "close"));
    system.fcntl = reinterpret_cast<decltype(system.fcntl)>(vfs->xGetSystemCall(vfs, "fcntl"));
    if (system.open == nullptr || system.close == nullptr || system.fcntl == nullptr) return false;
    stay_loaded();
    vfs->xSetSystemCall(vfs, "close", reinterpret_cast<sqlite3_syscall_ptr>(&close_file));
    vfs->xSetSystemCall(vfs, "fcntl", reinterpret_cast<sqlite3_syscall_ptr>(&control_file));
    vfs->xSetSystemCall(vfs, "open", reinterpret_cast<sqlite3_syscall_ptr>(&open_file));
    return true;
}

// Says whether a lock of this type would be refused. Nothing if it cannot be told.
std::optional<bool> is_locked_by_another(const LockedFile* file, off_t start, off_t count, short type = F_WRLCK) {
    if (file == nullptr || !file->led) return std::nullopt;
    struct flock conflict{.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = count, .l_pid = 0};
    if (::fcntl(file->descriptor, F_OFD_GETLK, &conflict) != 0) return std::nullopt;
    return conflict.l_type != F_UNLCK;
}

}  // namespace

void enter(const std::filesystem::path& database) {
    static const bool kInstalled = install();
    if (!kInstalled) return;
    Table& all = table();
    const MutexLock lock(all.mutex);
    all.prepare();
    all.databases.push_back(database.native());
}

void leave(const std::filesystem::path& database) noexcept {
    Table& all = table();
    const MutexLock lock(all.mutex);
    const auto entry = std::ranges::find(all.databases, database.native());
    if (entry != all.databases.end()) all.databases.erase(entry);
}

Others others_on(const std::filesystem::path& database) noexcept try {
    const std::string lock_file = database.native() + std::string(kLockFileSuffix);
    const Table& all = table();
    const MutexLock lock(all.mutex);
    const LockedFile* const file = all.find(database.native());
    return {
        .on_database = is_locked_by_another(file, kDatabaseLocks, kDatabaseLocksCount),
        .alone_on_database = is_locked_by_another(file, kDatabaseLocks, kDatabaseLocksCount, F_RDLCK).value_or(false),
        .on_lock_file = is_locked_by_another(all.find(lock_file), kLockFileInUse, 1),
        .in_this_process = file != nullptr && file->engine_files > 1};
} catch (const std::bad_alloc&) {
    return {};
}

bool hold(dev_t device, ino_t inode) noexcept {
    const Table& all = table();
    const MutexLock lock(all.mutex);
    const LockedFile* const file = all.find(device, inode);
    if (file == nullptr || file->led) return true;
    const auto found = std::ranges::find(all.by_descriptor, file);
    struct flock shared{
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = kDatabaseLocks, .l_len = kDatabaseLocksCount, .l_pid = 0};
    return found == all.by_descriptor.end() ||
           all.system.fcntl(static_cast<int>(found - all.by_descriptor.begin()), F_SETLK, &shared) == 0;
}

bool has_lock_file(const std::filesystem::path& database, dev_t device, ino_t inode) noexcept {
    const Table& all = table();
    const MutexLock lock(all.mutex);
    const LockedFile* const file = all.find(database.native());
    return file == nullptr || !file->led || all.find(device, inode) != nullptr;
}

void before_fork() CAIRN_ACQUIRE(table().mutex) {
    table().mutex.lock();
}

void after_fork_in_parent() CAIRN_RELEASE(table().mutex) {
    table().mutex.unlock();
}

void after_fork_in_child() CAIRN_RELEASE(table().mutex) {
    table().forget_all();
    table().mutex.unlock();
}

}  // namespace cairn::sqlite::file_locks
