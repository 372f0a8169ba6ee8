#pragma once

#include "cli/usage/command_model.h"

#include <string>

namespace cairn::cli {

// The completion of the command line, in the form that each shell reads.
std::string bash_completion(const ProgramModel& model);
std::string zsh_completion(const ProgramModel& model);
std::string fish_completion(const ProgramModel& model);

}  // namespace cairn::cli
