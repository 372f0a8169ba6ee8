#pragma once

#include "cli/usage/command_model.h"

#include <string>

namespace cairn::cli {

/// Returns the page cairn(1) in the language of man(7).
std::string man_page(const ProgramModel& model);

}  // namespace cairn::cli
