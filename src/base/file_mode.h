#pragma once

// The mode of the files that we make: stores, outputs, event files. States hold private data, so only the owner may
// read and write them, unless CAIRN_FILE_MODE lets a group in.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

inline constexpr std::uint32_t kFileModeDefault = 0600;
inline constexpr std::string_view kFileModesAccepted = "0600, 0640, 0660, 0644, 0664 or 0666";

/// Reads one of `kFileModesAccepted`; the first 0 may be left out.
[[nodiscard]] std::optional<std::uint32_t> parse_file_mode(std::string_view octal);
[[nodiscard]] std::string format_file_mode(std::uint32_t mode);  ///< "0640"

/// Makes the file `path` with exactly `mode`, whatever the umask is. If something is there already, even a symbolic
/// link or a pipe, it is neither opened nor followed: EEXIST.
/// `flags`: of open(2), such as O_WRONLY. Returns a descriptor, or -1 with errno, like open(2).
[[nodiscard]] int create_file(const char* path, int flags, std::uint32_t mode) noexcept;

/// Says whether `path` is a symbolic link or a pipe of another user (root aside), who then decides where it leads.
[[nodiscard]] bool is_laid_by_another(const char* path) noexcept;

/// Opens what is at `path` like open(2), but never waits: a pipe without a reader is ENXIO.
[[nodiscard]] int open_without_waiting(const char* path, int flags) noexcept;

}  // namespace cairn
