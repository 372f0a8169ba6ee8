#include "store/sqlite/database_path.h"

#include "base/system_error_code.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace cairn::sqlite {
namespace {

namespace fs = std::filesystem;

// In the table of mounts, blanks, tabs, line ends and backslashes of a path are written as three octal digits.
std::string as_in_table_of_mounts(std::string_view path) {
    std::string written;
    for (const char character : path) {
        const bool is_escaped = character == ' ' || character == '\t' || character == '\n' || character == '\\';
        is_escaped ? written += fmt::format("\\{:03o}", static_cast<unsigned char>(character)) : written += character;
    }
    return written;
}

// For kernels before 5.8.
bool is_in_table_of_mounts(const fs::path& path) {
    const std::string wanted = as_in_table_of_mounts(path.native());
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
        std::size_t from = 0;  // the fifth word is the mount point
        for (int word = 1; word < 5 && from != std::string::npos; ++word) from = line.find(' ', from + 1);
        if (from == std::string::npos) continue;
        if (line.substr(from + 1, line.find(' ', from + 1) - from - 1) == wanted) return true;
    }
    return false;
}

bool is_mount_point(const fs::path& path) {
    struct statx status{};
    if (::statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC, STATX_TYPE, &status) == 0 &&
        (status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0) {
        return (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    }
    return is_in_table_of_mounts(path);
}

}  // namespace

Result<fs::path> resolve(const fs::path& path) {
    std::error_code problem;
    const bool is_there = fs::exists(path, problem);
    fs::path folder = is_there ? path : path.parent_path();
    fs::path resolved = fs::canonical(folder, problem);
    if (problem) {
        return fail(code_of_system_error(problem.value(), ErrorCode::kUnavailable),
                    fmt::format("{} cannot be reached", path.native()), problem.message());
    }
    return is_there ? resolved : resolved / path.filename();
}

Status check_only_name(const fs::path& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return {};  // deleted meanwhile: opening reports it
    if (status.st_nlink > 1) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} has {} names (hard links), and whoever uses another of them writes another log: "
                                "remove the other names (`find -samefile` lists them), or copy the file while nobody "
                                "has it open",
                                path.native(), status.st_nlink));
    }
    if (is_mount_point(path)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("{} is mounted here alone, so its log would not be where others look for it: mount the "
                                "folder that holds it",
                                path.native()));
    }
    return {};
}

}  // namespace cairn::sqlite
