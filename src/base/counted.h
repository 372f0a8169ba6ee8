#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

/// Returns "1 byte", "2 bytes": for messages.
std::string counted(std::uint64_t count, std::string_view word);

}  // namespace cairn
