#pragma once

// JSON Pointers (RFC 6901): "/risk/level", "/items/0".

#include <cairn/state.h>

#include <optional>
#include <string_view>

namespace cairn {

/// True for an empty text (the whole state), and for steps that each start with a slash, with `~` only before 0 or 1.
[[nodiscard]] bool is_json_pointer(std::string_view pointer) noexcept;

/// Returns the normal text of the value that `pointer` leads to; nothing if there is none. Elements of lists are
/// counted from 0; `-`, the one after the last, never exists. Of duplicate keys the last wins. Scans the text once for
/// each step.
[[nodiscard]] std::optional<std::string_view> find(const State& state, std::string_view pointer);

}  // namespace cairn
