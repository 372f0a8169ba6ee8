#pragma once

#include <cairn/state.h>

#include <stop_token>

namespace cairn {

/// Applies a merge patch (RFC 7396): members of `patch` are set, at every depth, and `null` removes one. Works on the
/// texts, so every token that is not replaced stays as written. Members keep the order of `base`; new ones follow in
/// the order of `patch`. Of duplicate keys the last wins; duplicates that the patch does not name stay as they are.
/// Time and memory are linear in both texts, at any depth and whatever the keys.
/// Errors: kInvalidState (one of them is opaque), kLimitExceeded (of the result), kInternal (out of memory),
/// kUnavailable (`stop` was requested).
[[nodiscard]] Result<State> merge_patch(const State& base, const State& patch, const StateLimits& limits = {},
                                        const std::stop_token& stop = {});

}  // namespace cairn
