#pragma once

// The state that a new run of a pipeline begins with.

#include <cairn/error.h>
#include <cairn/state.h>

#include <string>
#include <vector>

namespace cairn::cli {

/// What `--input` names (empty: `{}`; "-": standard input), with the members of `--set KEY=VALUE` put in: VALUE is JSON
/// if it can be read as JSON, otherwise a string. What is not set stays byte for byte.
/// Errors: those of reading and of `State::parse`, kInvalidArgument (a `--set` without KEY or "=").
[[nodiscard]] Result<State> read_run_input(const std::string& input, const std::vector<std::string>& settings,
                                           const StateLimits& limits);

/// `state` with the members of `--set` put in. Errors: as above.
[[nodiscard]] Result<State> with_settings(State state, const std::vector<std::string>& settings,
                                          const StateLimits& limits);

/// `state` with its top-level member `key` (unescaped) being `json_text`; at its end if it is new.
[[nodiscard]] State with_top_member(const State& state, const std::string& key, const std::string& json_text);

}  // namespace cairn::cli
