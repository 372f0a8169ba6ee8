#pragma once

#include <cairn/error.h>

#include <string>
#include <string_view>

namespace cairn {

/// "file \"x\" cannot be read [why]", with the next step for a file: `errno` says why. `otherwise`: the code if that
/// says no more.
std::unexpected<Error> file_error(std::string_view what, const std::string& name, ErrorCode otherwise);

}  // namespace cairn
