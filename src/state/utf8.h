#pragma once

#include <string_view>

namespace cairn {

/// Says whether `text` is well-formed UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view text) noexcept;

}  // namespace cairn
