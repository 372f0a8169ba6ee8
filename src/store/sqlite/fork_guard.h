#pragma once

// Forks and the engine. A child inherits the engine's notes about the locks of its parent's open files, but not the
// locks. A connection that it opened to such a file would rely on locks that nobody holds, and another process could
// then delete the log from under it. So the child cannot open the same file. (For the locks themselves, see
// file_locks.h.)

#include <cairn/error.h>

#include <filesystem>
#include <utility>

#include <sys/types.h>

namespace cairn::sqlite {

/// Records that this process has a file open, until `leave` or the end of the process.
class ForkGuard {
public:
    /// `path` must be canonical.
    /// Errors: kInvalidArgument (the file was open when this process was forked), kNotFound.
    [[nodiscard]] static Result<ForkGuard> enter(const std::filesystem::path& path);
    ~ForkGuard() { leave(); }
    ForkGuard(ForkGuard&& other) noexcept;
    ForkGuard& operator=(ForkGuard&&) = delete;
    ForkGuard(const ForkGuard&) = delete;
    ForkGuard& operator=(const ForkGuard&) = delete;

    /// Says whether this is another process than the one that entered. Takes no lock: in a forked child, a lock may be
    /// held by a thread that does not exist there.
    bool forked() const;
    void leave();

private:
    using FileId = std::pair<dev_t, ino_t>;
    ForkGuard(std::filesystem::path path, FileId file, pid_t process)
        : path_(std::move(path)), file_(file), process_(process) {}

    std::filesystem::path path_;
    FileId file_;
    pid_t process_;
    bool entered_ = false;
};

}  // namespace cairn::sqlite
