#pragma once

// Bringing files to disk.

#include <string_view>

namespace cairn {

/// Writes all of `bytes`. Returns 0 or the system's error.
[[nodiscard]] int write_all(int file, std::string_view bytes) noexcept;

/// Syncs a folder: a new name in it survives power loss only after that. Returns 0 or the system's error.
[[nodiscard]] int sync_folder(const char* folder) noexcept;

}  // namespace cairn
