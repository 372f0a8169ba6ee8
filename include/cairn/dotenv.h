#pragma once

// The `.env` file: `NAME=value` lines in the syntax that `load_config` documents. They may be any program's settings.

#include <cairn/error.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

using DotenvValues = std::map<std::string, std::string, std::less<>>;

/// A line that we cannot read as an assignment. Another program may be able to.
struct DotenvProblem {
    std::size_t line = 0;   ///< Counted from 1.
    std::string name;       ///< The first word before '=', which may be a variable's name.
    std::string_view what;  ///< For people. Never content of the line, which may be a secret.
};

struct Dotenv {
    DotenvValues values;
    std::vector<DotenvProblem> problems;  ///< Lines that were skipped.
};

/// If a name is given twice, the last one wins. A line that cannot be read is skipped.
[[nodiscard]] Dotenv parse_dotenv(std::string_view text);

/// A missing file is read as an empty one.
/// Errors: kInvalidConfig (no file but a folder, a pipe or a device; not readable; larger than 1 MiB).
[[nodiscard]] Result<Dotenv> read_dotenv(const std::filesystem::path& path);

/// Says whether the file is read when the variable ENVIRONMENT has this value. It is not read in `production` and
/// `staging`: there the environment holds the settings, and a file left behind must not change them.
[[nodiscard]] bool reads_dotenv_in(std::string_view environment);

}  // namespace cairn
