#pragma once

#include <cairn/pipeline.h>

#include <span>
#include <stop_token>
#include <string>

namespace cairn {

/// The state that one step of a group has made from its copy.
struct Changed {
    std::string step;
    State state;
};

/// Merges the states that the steps of a group have made from `base`, given in step order, top-level member by member.
/// If only one of them has changed anything, the result is exactly its state. `merger` is the stage's, for kMerger.
/// Errors: kConflict (kFail: names the member and the steps), those of the merger (as the cause), kInvalidState (it
///   answered with text that is not a JSON value), kLimitExceeded (of the result), kInternal (out of memory, a merger
///   that throws), kUnavailable (`stop` was requested).
[[nodiscard]] Result<State> merge_results(const State& base, std::span<const Changed> results, const Stage& stage,
                                          const Merger* merger, const StateLimits& limits,
                                          const std::stop_token& stop = {});

}  // namespace cairn
