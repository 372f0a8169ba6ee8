#pragma once

// The one name of a database. The engine keeps the log and the lock file beside the name by which the file was opened.
// A program that opens the same file by another name gets another log, and both sides write into one database without
// knowing of each other.

#include <cairn/error.h>

#include <filesystem>

namespace cairn::sqlite {

/// Returns the path without links and "..": the log and the lock file are beside it. Its last part need not exist.
/// Errors: kNotFound, kReadOnly, kUnavailable.
[[nodiscard]] Result<std::filesystem::path> resolve(const std::filesystem::path& path);

/// Errors: kInvalidArgument (the file has a second name: a hard link, or it is mounted here alone, without its folder).
[[nodiscard]] Status check_only_name(const std::filesystem::path& path);

}  // namespace cairn::sqlite
