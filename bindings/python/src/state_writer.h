#pragma once

// Python objects as states.

#include <cairn/state.h>

#include <pybind11/pybind11.h>

#include <string_view>

namespace cairn::python {

/// The state that `object` (a dict, or what stands for one: a mapping, dataclass or pydantic model) is, as normal text:
/// what `json.dumps(object, separators=(",", ":"), ensure_ascii=False)` gives, with lone surrogates as escapes. `name`
/// is what errors call the object: "state_data". The GIL must be held.
/// Raises: TypeError (no JSON form), cairn.InvalidStateError (NaN, infinity, a cycle, a key twice),
///   cairn.LimitExceededError; each message has the path ("state_data['tools'][3].result").
State state_of(pybind11::handle object, std::string_view name, const StateLimits& limits);

/// The opaque state of the bytes that `object` (bytes, or another object with a buffer in one piece) has now. The GIL
/// must be held. Raises: TypeError (no such buffer), cairn.InvalidRequestError (the type), cairn.LimitExceededError.
State opaque_state_of(pybind11::handle object, std::string_view name, std::string_view state_type,
                      const StateLimits& limits);

}  // namespace cairn::python
