#pragma once

// Bringing files to disk.

#include <string_view>

namespace cairn {

/// All of `bytes`. Returns 0 or the system's error.
[[nodiscard]] int write_all(int file, std::string_view bytes) noexcept;

/// A new name survives power loss only when its folder is on disk. Returns 0 or the system's error.
[[nodiscard]] int sync_folder(const char* folder) noexcept;

}  // namespace cairn
