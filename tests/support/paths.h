#pragma once

// The place of the checkout. The path stands in one small source file, so a test's object is the same in every checkout
// and the compiler cache can serve it.

#include <filesystem>

namespace cairn::test {

/// The top of the checkout.
std::filesystem::path source_dir();

}  // namespace cairn::test
