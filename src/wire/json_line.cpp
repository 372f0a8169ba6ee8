#include "wire/json_line.h"

#include <nlohmann/json.hpp>

namespace cairn {

std::string to_line(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Written by hand, because a JSON library would print numbers and escapes of the text in its own way.
std::string with_member(std::string object, std::string_view name, std::string_view json_text) {
    object.pop_back();
    if (object.size() > 1) object += ',';
    return object.append("\"").append(name).append("\":").append(json_text).append("}");
}

}  // namespace cairn
