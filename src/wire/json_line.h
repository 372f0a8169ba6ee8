#pragma once

// JSON texts of one line, for files, sockets and `--json`.

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace cairn {

using Json = nlohmann::ordered_json;

/// Returns one line of JSON; bytes that are not UTF-8 are replaced.
std::string to_line(const Json& json);

/// Returns `object` with one more member, whose value is JSON text that must not change (a state).
std::string with_member(std::string object, std::string_view name, std::string_view json_text);

}  // namespace cairn
