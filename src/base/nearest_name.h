#pragma once

#include <span>
#include <string>
#include <string_view>

namespace cairn {

/// The one of `names` that `word` was probably meant to be; empty if none is near enough. An extra letter, a missing
/// one, a wrong one, or two swapped neighbours count as one step each; capitals do not count.
std::string nearest_name(std::string_view word, std::span<const std::string> names);

}  // namespace cairn
