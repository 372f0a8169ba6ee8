#pragma once

// The `.env` file: `NAME=value` lines in the syntax that `load_config` documents, whoever's settings they are.

#include <cairn/error.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

using DotenvValues = std::map<std::string, std::string, std::less<>>;

/// A line that is no assignment as we read them: another program may.
struct DotenvProblem {
    std::size_t line = 0;   ///< From 1.
    std::string name;       ///< The first word of what stands before '=', which is a variable's name perhaps.
    std::string_view what;  ///< For a person. Never content of the line, which may be a secret.
};

struct Dotenv {
    DotenvValues values;
    std::vector<DotenvProblem> problems;  ///< Lines that were passed over.
};

/// Of a name given twice the last wins. A line that cannot be read is passed over, and the next one read.
[[nodiscard]] Dotenv parse_dotenv(std::string_view text);

/// A file that is not there is an empty one.
/// Errors: kInvalidConfig (no file but a folder, a pipe or a device; not readable; larger than 1 MiB).
[[nodiscard]] Result<Dotenv> read_dotenv(const std::filesystem::path& path);

/// Whether the file counts where the variable ENVIRONMENT has this value: not in `production` and `staging`, where
/// settings are the environment's and a file left behind must not change them.
[[nodiscard]] bool reads_dotenv_in(std::string_view environment);

}  // namespace cairn
