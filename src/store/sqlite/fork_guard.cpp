#include "store/sqlite/fork_guard.h"

#include <fmt/format.h>

#include <sys/stat.h>
#include <unistd.h>

#include <pthread.h>
#include <algorithm>
#include <mutex>
#include <tuple>
#include <vector>

namespace cairn::sqlite {
namespace {

struct OpenFiles {
    // Not held while a process forks, so that the child does not inherit it locked.
    std::mutex mutex;
    // Guarded by mutex. One entry a store; entries of the parent stay in the child for ever.
    std::vector<std::tuple<dev_t, ino_t, pid_t>> entries;
};

OpenFiles& open_files() {
    static OpenFiles* const kFiles = [] {
        auto* const files = new OpenFiles;  // never destroyed: stores may be closed by static destructors
        pthread_atfork([] { open_files().mutex.lock(); }, [] { open_files().mutex.unlock(); },
                       [] { open_files().mutex.unlock(); });
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
    const std::lock_guard lock(files.mutex);
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
    files.entries.emplace_back(status.st_dev, status.st_ino, process);
    return ForkGuard({status.st_dev, status.st_ino}, process);
}

void ForkGuard::leave() {
    if (!std::exchange(entered_, false) || forked()) return;
    OpenFiles& files = open_files();
    const std::lock_guard lock(files.mutex);
    const auto entry = std::ranges::find(files.entries, std::tuple(file_.first, file_.second, process_));
    if (entry != files.entries.end()) files.entries.erase(entry);
}

ForkGuard::ForkGuard(ForkGuard&& other) noexcept
    : file_(std::move(other.file_)), process_(other.process_), entered_(std::exchange(other.entered_, false)) {}

bool ForkGuard::forked() const {
    return ::getpid() != process_;
}

}  // namespace cairn::sqlite
