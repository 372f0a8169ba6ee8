#pragma once

// JSON Pointers (RFC 6901): "/risk/level", "/items/0".

#include <cairn/state.h>

#include <optional>
#include <string_view>

namespace cairn {

/// Empty (the whole state), or steps that each start with a slash, in which `~` only stands before 0 or 1.
[[nodiscard]] bool is_json_pointer(std::string_view pointer) noexcept;

/// The normal text of the value that `pointer` leads to; nothing if there is none. Elements of lists are counted from
/// 0, and `-`, the one after the last, is never there. Of duplicate keys the last wins. Scans the text once for each
/// step.
[[nodiscard]] std::optional<std::string_view> find(const State& state, std::string_view pointer);

}  // namespace cairn
