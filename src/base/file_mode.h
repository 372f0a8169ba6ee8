#pragma once

// Who may read and write the files that are made: stores, outputs, event files. States hold private data, so nobody but
// the owner unless CAIRN_FILE_MODE lets a group in.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

inline constexpr std::uint32_t kFileModeDefault = 0600;
inline constexpr std::string_view kFileModesAccepted = "0600, 0640, 0660, 0644, 0664 or 0666";

/// Of one of `kFileModesAccepted`, the first 0 may be left out.
[[nodiscard]] std::optional<std::uint32_t> parse_file_mode(std::string_view octal);
[[nodiscard]] std::string format_file_mode(std::uint32_t mode);  ///< "0640"

/// Makes the file `path` with exactly `mode`, whatever the umask is. What is there already, a symbolic link or a pipe
/// too, is neither opened nor followed: EEXIST.
/// `flags`: of open(2), as O_WRONLY. Returns as open(2) does: a descriptor, or -1 with errno.
[[nodiscard]] int create_file(const char* path, int flags, std::uint32_t mode) noexcept;

/// Whether `path` is a symbolic link or a pipe that another user (root aside) has put there: it leads where they like.
[[nodiscard]] bool is_laid_by_another(const char* path) noexcept;

/// Opens what is at `path`, and never waits for it: a pipe that nobody reads is ENXIO. As open(2).
[[nodiscard]] int open_without_waiting(const char* path, int flags) noexcept;

}  // namespace cairn
