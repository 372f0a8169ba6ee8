#pragma once

#include "cli/command.h"

#include <span>
#include <string>

namespace cairn::cli {

/// What is wrong with a command line that CLI11 refused, and what was meant perhaps.
Error usage_error(const CLI::App& app, const CLI::ParseError& error, std::span<const std::string> words);

}  // namespace cairn::cli
