#include "files/output_file.h"

#include "base/file_mode.h"
#include "base/file_sync.h"
#include "files/file_error.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

namespace cairn {
namespace {

std::unexpected<Error> unwritable_file_error(const std::string& path, ErrorCode otherwise = ErrorCode::kUnavailable) {
    return file_error("written", path == "-" ? "standard output" : fmt::format("file \"{}\"", path), otherwise);
}

std::unexpected<Error> refuse(const std::string& path, std::string_view because) {
    return std::unexpected(
        advise({.code = ErrorCode::kInvalidArgument, .message = fmt::format("file \"{}\" {}", path, because)},
               "Give the output another name."));
}

// `/dev/stdout` and its like are links to an open file or pipe. A file must be written on there, not replaced.
bool is_open_already(const std::string& path) {
    struct stat entry{};
    if (::lstat(path.c_str(), &entry) != 0 || !S_ISLNK(entry.st_mode)) return false;
    std::error_code ignored;
    const std::string folder =
        std::filesystem::canonical(std::filesystem::absolute(path).parent_path(), ignored).string() + "/";
    return folder == "/dev/" || folder.starts_with("/proc/");
}

// A newly opened file would have a position of its own, and would overwrite what is already written.
int open_shared(const std::string& path) {
    struct stat wanted{};
    struct stat entry{};
    if (!is_open_already(path) || ::stat(path.c_str(), &wanted) != 0) return -1;
    for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO}) {
        const bool is_it =
            ::fstat(descriptor, &entry) == 0 && entry.st_dev == wanted.st_dev && entry.st_ino == wanted.st_ino;
        if (is_it) return ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    }
    return -1;
}

// Nobody wants to replace a database by a text.
bool is_database(const std::string& path) {
    constexpr std::string_view kMark("SQLite format 3\0", 16);
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), &std::fclose);
    std::array<char, kMark.size()> head{};
    return file && std::fread(head.data(), 1, head.size(), file.get()) == head.size() &&
           std::string_view(head.data(), head.size()) == kMark;
}

std::string without_links(const std::string& path) {
    const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), &std::free);
    return real ? std::string(real.get()) : path;
}

std::string folder_of(const std::string& path) {
    const auto slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

constexpr mode_t kPermissions = S_IRWXU | S_IRWXG | S_IRWXO;

}  // namespace

Status write_file(const std::string& path, std::string_view bytes, std::uint32_t mode) {
    auto file = OutputFile::open(path, mode);
    if (!file) return std::unexpected(file.error());
    if (Status written = file->write(bytes); !written) return written;
    return file->close();
}

Result<OutputFile> OutputFile::open(const std::string& path, std::uint32_t mode) {
    if (path == "-") return OutputFile(path, stdout);
    if (is_laid_by_another(path.c_str())) return refuse(path, "is a link or a pipe of another user");
    struct stat entry{};
    const bool is_there = ::stat(path.c_str(), &entry) == 0;
    if (!is_there && errno != ENOENT) return unwritable_file_error(path, ErrorCode::kReadOnly);
    if (!is_there) return open_beside(path, path, mode);
    if (S_ISDIR(entry.st_mode)) return refuse(path, "cannot be written: it is a folder");
    if (!S_ISREG(entry.st_mode) || is_open_already(path)) return open_as_it_is(path);
    if (is_database(path)) return refuse(path, "is a database, and would be lost");
    if (::access(path.c_str(), W_OK) != 0) return unwritable_file_error(path, ErrorCode::kReadOnly);
    return open_beside(path, without_links(path), entry.st_mode & kPermissions);
}

Result<OutputFile> OutputFile::open_as_it_is(const std::string& path) {
    const int shared = open_shared(path);
    const int descriptor = shared >= 0 ? shared : open_without_waiting(path.c_str(), O_WRONLY);
    if (descriptor < 0 && errno == ENXIO) return refuse(path, "is a pipe that nobody reads");
    std::FILE* file = descriptor < 0 ? nullptr : ::fdopen(descriptor, "wb");
    if (file == nullptr) return unwritable_file_error(path, ErrorCode::kReadOnly);
    return OutputFile(path, file);
}

Result<OutputFile> OutputFile::open_beside(const std::string& path, std::string final, std::uint32_t mode) {
    std::string draft;
    int descriptor = -1;
    for (unsigned attempt = 0; descriptor < 0; ++attempt) {
        draft = fmt::format("{}/.cairn-output-{}-{}", folder_of(final), ::getpid(), attempt);
        descriptor = create_file(draft.c_str(), O_WRONLY, mode);
        if (descriptor < 0 && errno != EEXIST) return unwritable_file_error(path, ErrorCode::kReadOnly);
    }
    OutputFile file(path, ::fdopen(descriptor, "wb"));
    file.final_ = std::move(final);
    file.draft_ = std::move(draft);
    return file;
}

OutputFile::~OutputFile() {
    if (file_ != nullptr && file_ != stdout) std::fclose(file_);
    if (!draft_.empty()) ::unlink(draft_.c_str());
}

Status OutputFile::write(std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size()) return {};
    return unwritable_file_error(path_);
}

Status OutputFile::close() {
    std::FILE* file = std::exchange(file_, nullptr);
    if (file == stdout) return std::fflush(file) == 0 ? Status{} : unwritable_file_error(path_);
    const bool is_whole = std::fflush(file) == 0 && (draft_.empty() || ::fsync(::fileno(file)) == 0);
    const int error_number = errno;
    const bool is_closed = std::fclose(file) == 0;
    if (!is_whole) errno = error_number;
    if (!is_whole || !is_closed) return unwritable_file_error(path_);
    return draft_.empty() ? Status{} : take_its_name();
}

Status OutputFile::take_its_name() {
    if (std::rename(draft_.c_str(), final_.c_str()) != 0) return unwritable_file_error(path_, ErrorCode::kReadOnly);
    draft_.clear();
    errno = sync_folder(folder_of(final_).c_str());
    return errno == 0 ? Status{} : unwritable_file_error(path_);
}

}  // namespace cairn
