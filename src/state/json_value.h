#pragma once

#include <cairn/error.h>
#include <cairn/state.h>

#include <string>
#include <string_view>

namespace cairn {

/// Returns the normal text of one JSON value of any kind, under the rules of states.
/// Errors: kInvalidState, kLimitExceeded. Neither names the place or any content.
[[nodiscard]] Result<std::string> normal_json_value(std::string_view text, const StateLimits& limits = {});

}  // namespace cairn
