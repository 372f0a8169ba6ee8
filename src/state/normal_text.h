#pragma once

#include <cairn/error.h>

#include <string_view>

namespace cairn {

/// Checks text that comes from a store. Accepted text is one JSON object in normal text, as `State::parse` makes it, so
/// all code behind this check may trust it. Any nesting is accepted: today's limit says nothing about stored text.
/// Errors: kCorrupt (without content), kInternal (memory).
[[nodiscard]] Status check_stored_text(std::string_view text);

}  // namespace cairn
