#include "base/file_mode.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace cairn {
namespace {

constexpr std::array<std::uint32_t, 6> kAccepted{0600, 0640, 0660, 0644, 0664, 0666};

}  // namespace

std::optional<std::uint32_t> parse_file_mode(std::string_view octal) {
    const auto means = [octal](std::uint32_t mode) {
        const std::string text = format_file_mode(mode);
        return octal == text || octal == std::string_view(text).substr(1);
    };
    const auto* found = std::ranges::find_if(kAccepted, means);
    if (found == kAccepted.end()) return std::nullopt;
    return *found;
}

std::string format_file_mode(std::uint32_t mode) {
    return fmt::format("{:04o}", mode);
}

int create_file(const char* path, int flags, std::uint32_t mode) noexcept {
    const int file = ::open(path, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileModeDefault);
    if (file < 0 || mode == kFileModeDefault || ::fchmod(file, mode) == 0) return file;
    const int error_number = errno;
    ::unlink(path);
    ::close(file);
    errno = error_number;
    return -1;
}

bool is_laid_by_another(const char* path) noexcept {
    struct stat entry{};
    if (::lstat(path, &entry) != 0 || !(S_ISLNK(entry.st_mode) || S_ISFIFO(entry.st_mode))) return false;
    return entry.st_uid != ::geteuid() && entry.st_uid != 0;
}

int open_without_waiting(const char* path, int flags) noexcept {
    const int file = ::open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file < 0) return file;
    const int now = ::fcntl(file, F_GETFL);
    if (now >= 0) ::fcntl(file, F_SETFL, now & ~O_NONBLOCK);
    return file;
}

}  // namespace cairn
