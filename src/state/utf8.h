#pragma once

#include <string_view>

namespace cairn {

/// Whether `text` is well-formed UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view text) noexcept;

}  // namespace cairn
