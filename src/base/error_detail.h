#pragma once

#include <cairn/error.h>

#include <string>

namespace cairn {

/// The engine's message and the causes, in one line: for formats that have no members for those.
std::string full_detail(const Error& error);

}  // namespace cairn
