#pragma once

#include "replay/replay.h"

#include <span>
#include <string>

namespace cairn::cli {

/// Returns one replay's figures as a JSON object. Its members, their names and their order never change.
std::string replay_json(const ReplayFigures& figures);

/// Returns several replays of the same runs: `{"standard":{…},"optimized":{…}}`.
std::string replay_json(std::span<const ReplayFigures> replays);

/// Prints a table for people with one column per replay. For two replays it also shows the second's figures as
/// multiples of the first's.
void print_replay_table(std::span<const ReplayFigures> replays);

}  // namespace cairn::cli
