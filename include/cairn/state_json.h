#pragma once

// Adapters between State and nlohmann::json, for callers that already have such a document. They are apart from
// state.h, so that only their users need the library.

#include <cairn/state.h>

#include <nlohmann/json.hpp>

namespace cairn {

/// Prints `document` and checks it. NaN and infinity are refused (kInvalidState), as are strings that are not UTF-8.
/// Keys keep the document's own order: alphabetic for nlohmann::json, insertion order for nlohmann::ordered_json.
/// Instantiated for those two types.
template <class Json>
Result<State> state_from_json(const Json& document, const StateLimits& limits = {});

/// Reads the state as a document. It loses what the library loses: integers beyond 64 bit become doubles, and of
/// duplicate keys the last wins. Lone surrogate escapes are an error (kInvalidState), and so is an opaque state.
/// nlohmann::ordered_json looks at each key of an object for each of its keys: for a state that others have made, use
/// nlohmann::json.
template <class Json>
Result<Json> state_to_json(const State& state);

}  // namespace cairn
