#pragma once

#include <cairn/pipeline.h>

#include <span>
#include <stop_token>
#include <string>

namespace cairn {

/// What one step of a group has made of its copy of the state.
struct Changed {
    std::string step;
    State state;
};

/// Merges what the steps of a group have made of `base`, given in step order, top-level member by member. If only one
/// of them has changed anything, that is its state as it is. `merger` is the stage's, for kMerger. Errors: kConflict
/// (kFail: names the member and the steps), those of the merger (as the cause), kInvalidState (it
///   answered with what is no JSON value), kLimitExceeded (of what comes out), kInternal (out of memory, a merger that
///   throws), kUnavailable (`stop` was requested).
[[nodiscard]] Result<State> merge_results(const State& base, std::span<const Changed> results, const Stage& stage,
                                          const Merger* merger, const StateLimits& limits,
                                          const std::stop_token& stop = {});

}  // namespace cairn
