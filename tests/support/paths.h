#pragma once

// The places of the checkout and of the built program. The paths stand in one small source file, so a test's object is
// the same in every checkout and the compiler cache can serve it.

#include <filesystem>
#include <string>

namespace cairn::test {

/// The top of the checkout.
std::filesystem::path source_dir();

/// The built command-line program.
std::string cairn_program();

}  // namespace cairn::test
