#include "state/json_value.h"

#include "state/state_members.h"

#include <fmt/format.h>

namespace cairn {

// The value must be the object's only member: text such as `1,"b":2` adds another.
Result<std::string> normal_json_value(std::string_view text, const StateLimits& limits) {
    Result<State> object = State::parse(fmt::format("{{\"\":{}}}", text), limits);
    if (object) {
        MemberReader members(object->text());
        members.next_key();
        const std::string_view value = members.take_value();
        if (!members.next_key()) return std::string(value);
    } else if (object.error().code != ErrorCode::kInvalidState) {
        return std::unexpected(std::move(object.error()));
    }
    return fail(ErrorCode::kInvalidState, "it is not one JSON value");
}

}  // namespace cairn
