#pragma once

// Adapters between State and nlohmann::json, for callers that already have such a document. Apart from state.h so
// that only those who want it need the library.

#include <cairn/state.h>

#include <nlohmann/json.hpp>

namespace cairn {

/// Prints `document` and checks it. NaN and infinity are refused (kInvalidState), as are strings that are not UTF-8.
/// Keys stand in the document's own order: alphabetic for nlohmann::json, insertion order for nlohmann::ordered_json.
/// Instantiated for those two types.
template <class Json>
Result<State> state_from_json(const Json& document, const StateLimits& limits = {});

/// Reads the state as a document. Lossy where the library is: integers beyond 64 bit become doubles, of duplicate
/// keys the last wins; lone surrogate escapes are an error (kInvalidState). nlohmann::ordered_json looks at each key of
/// an object for each of its keys: of a state that others have made, take nlohmann::json.
template <class Json>
Result<Json> state_to_json(const State& state);

}  // namespace cairn
