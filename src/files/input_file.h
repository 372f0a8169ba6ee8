#pragma once

// Reads from files and pipes; output_file.h writes.

#include <cairn/error.h>

#include <cstdint>
#include <string>

namespace cairn {

/// Reads the whole file, or standard input if `path` is "-". Never reads more than one byte beyond `bytes_max`.
/// Errors: kLimitExceeded, kNotFound (no such file), kInvalidArgument (a folder, or not readable).
[[nodiscard]] Result<std::string> read_input(const std::string& path, std::uint64_t bytes_max);

}  // namespace cairn
