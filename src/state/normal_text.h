#pragma once

#include <cairn/error.h>

#include <string_view>

namespace cairn {

/// The border that text from a store crosses: what passes is one JSON object in normal text, as `State::parse` makes
/// it, so that all that stands behind may trust it. Any nesting passes: a limit of today says nothing about what was
/// stored.
/// Errors: kCorrupt (without content), kInternal (memory).
[[nodiscard]] Status check_stored_text(std::string_view text);

}  // namespace cairn
