#pragma once

// States in and out of files and pipes.

#include <cairn/error.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn::cli {

/// All of the file, or of standard input if `path` is "-". Never reads more than one byte beyond `bytes_max`.
/// Errors: kLimitExceeded, kNotFound (no such file), kInvalidArgument (a folder, or not readable).
[[nodiscard]] Result<std::string> read_input(const std::string& path, std::uint64_t bytes_max);

/// Replaces what the file had.
/// Errors: kNotFound (no such folder), kInvalidArgument (a folder), kReadOnly, kStorageFull.
[[nodiscard]] Status write_file(const std::string& path, std::string_view bytes);

}  // namespace cairn::cli
