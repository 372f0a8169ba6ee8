#pragma once

// Finds the files that others may lean on, and how others refer to them.

#include "tools.h"

#include <string>
#include <vector>

namespace repo_analyst {

/// Returns the name without its folders.
std::string file_name(const std::string& path);

/// Returns the text by which other files refer to this one: for C and C++ a header's name, for most others the name
/// without its suffix. Empty: other files hardly ever refer to it.
std::string spoken_name(const Entry& file);

bool is_program_text(const Entry& file);

/// Returns the largest files that others can refer to.
std::vector<Entry> key_file_candidates(std::vector<Entry> files);

}  // namespace repo_analyst
