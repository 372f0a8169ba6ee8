#pragma once

#include <cairn/error.h>

#include <string>

namespace cairn {

/// The engine's words and the errors behind, in one line: for shapes that have no members for those.
std::string full_detail(const Error& error);

}  // namespace cairn
