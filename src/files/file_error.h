#pragma once

#include <cairn/error.h>

#include <string>
#include <string_view>

namespace cairn {

/// Returns "file \"x\" cannot be read [why]", with the next step for a file. The reason is `errno`. `otherwise`: the
/// code if `errno` has no better one.
std::unexpected<Error> file_error(std::string_view what, const std::string& name, ErrorCode otherwise);

}  // namespace cairn
