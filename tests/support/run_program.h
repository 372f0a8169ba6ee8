#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::test {

/// Options for running a child. Its environment is this process's, without the variables that cairn reads, plus
/// `environment`.
struct ProgramOptions {
    std::string_view standard_input = {};
    std::map<std::string, std::string> environment = {};
    std::filesystem::path working_folder = {};  ///< Empty: the test's own.
};

struct ProgramResult {
    int exit_code = -1;  ///< 128 + signal if a signal ended it.
    std::string output;  ///< Standard output.
    std::string errors;  ///< Standard error.
};

/// Runs `program` (looked up in PATH unless it has a slash) with `arguments` and waits for its end. Its pipes are
/// served together, so neither side can block the other. Throws std::runtime_error if it cannot be started.
ProgramResult run_program(const std::string& program, const std::vector<std::string>& arguments,
                          const ProgramOptions& options = {});

}  // namespace cairn::test
