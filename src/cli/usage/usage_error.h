#pragma once

#include "cli/command.h"

#include <span>
#include <string>

namespace cairn::cli {

/// Explains the error in a command line that CLI11 refused, with a suggestion if there is one.
Error usage_error(const CLI::App& app, const CLI::ParseError& error, std::span<const std::string> words);

}  // namespace cairn::cli
