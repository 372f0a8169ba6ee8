#pragma once

#include "cli/usage/command_model.h"

#include <string>

namespace cairn::cli {

// Completion of the command line, each as the shell reads it.
std::string bash_completion(const ProgramModel& model);
std::string zsh_completion(const ProgramModel& model);
std::string fish_completion(const ProgramModel& model);

}  // namespace cairn::cli
