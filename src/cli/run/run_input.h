#pragma once

// The state that a new run of a pipeline begins with.

#include <cairn/error.h>
#include <cairn/state.h>

#include <string>
#include <vector>

namespace cairn::cli {

/// Reads the file of `--input` (empty: `{}`; "-": standard input), and sets the members of `--set KEY=VALUE`. VALUE is
/// JSON if it can be read as JSON, otherwise a string. Members that are not set stay byte for byte.
/// Errors: those of reading and of `State::parse`, kInvalidArgument (a `--set` without KEY or "=").
[[nodiscard]] Result<State> read_run_input(const std::string& input, const std::vector<std::string>& settings,
                                           const StateLimits& limits);

/// Returns `state` with the members of `--set`. Errors: as above.
[[nodiscard]] Result<State> with_settings(State state, const std::vector<std::string>& settings,
                                          const StateLimits& limits);

/// Returns `state` with `json_text` as its top-level member `key` (unescaped); a new member comes last.
[[nodiscard]] State with_top_member(const State& state, const std::string& key, const std::string& json_text);

}  // namespace cairn::cli
