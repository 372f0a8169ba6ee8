#pragma once

#include "replay/replay.h"

#include <span>
#include <string>

namespace cairn::cli {

/// One replay's figures as a JSON object. Its members, their names and their order are fixed for ever.
std::string replay_json(const ReplayFigures& figures);

/// Several replays of the same runs: `{"standard":{…},"optimized":{…}}`.
std::string replay_json(std::span<const ReplayFigures> replays);

/// A table for people: a column a replay, and of two replays also the second's figures as multiples of the first's.
void print_replay_table(std::span<const ReplayFigures> replays);

}  // namespace cairn::cli
