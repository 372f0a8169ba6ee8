#pragma once

// The built command-line program. Only the tests that run it wait for it: link `cairn_built_program`.

#include "support/run_program.h"

#include <string>
#include <vector>

namespace cairn::test {

/// The program's path.
std::string cairn_program();

/// Runs the program.
ProgramResult run_cairn(const std::vector<std::string>& arguments, const ProgramOptions& options = {});

}  // namespace cairn::test
