#pragma once

// Base64 (RFC 4648, section 4), for bytes inside JSON.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

[[nodiscard]] std::string to_base64(std::string_view bytes);

/// Nothing if `text` is not what `to_base64` returns for any bytes: padding is required, other characters are not
/// accepted, and the bits that the last character does not need are 0. The result has `room` for so many bytes more.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text, std::size_t room = 0);

}  // namespace cairn
