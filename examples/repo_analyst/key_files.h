#pragma once

// Which files others may lean on, and how others speak of them.

#include "tools.h"

#include <string>
#include <vector>

namespace repo_analyst {

/// The name without its folders.
std::string file_name(const std::string& path);

/// How other files speak of this one: C and C++ by a header's name, most others by the name without its suffix.
/// Empty: they hardly ever do.
std::string spoken_name(const Entry& file);

bool is_program_text(const Entry& file);

/// The largest files that others can refer to.
std::vector<Entry> key_file_candidates(std::vector<Entry> files);

}  // namespace repo_analyst
