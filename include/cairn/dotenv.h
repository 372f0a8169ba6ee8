#pragma once

// The `.env` file: `NAME=value` lines in the syntax that `load_config` documents, whoever's settings they are.

#include <cairn/error.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace cairn {

using DotenvValues = std::map<std::string, std::string, std::less<>>;

/// `name` is what error messages call the file. Of a name given twice the last wins.
/// Errors: kInvalidConfig with the line number; never content of the line, which may be a secret of another program.
[[nodiscard]] Result<DotenvValues> parse_dotenv(std::string_view text, std::string_view name);

/// A file that is not there is an empty one.
/// Errors: kInvalidConfig (a folder, not readable, larger than 1 MiB, or a broken line).
[[nodiscard]] Result<DotenvValues> read_dotenv(const std::filesystem::path& path);

}  // namespace cairn
