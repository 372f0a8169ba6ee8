#pragma once

// Makes states from Python objects.

#include <cairn/state.h>

#include <pybind11/pybind11.h>

#include <string_view>

namespace cairn::python {

/// Returns the state of `object`: a dict, a mapping, a dataclass or a pydantic model. Its normal text is that of
/// `json.dumps(object, separators=(",", ":"), ensure_ascii=False)`, with lone surrogates as escapes. `name` is the
/// object's name in errors: "state_data". The GIL must be held.
/// Raises: TypeError (no JSON form), cairn.InvalidStateError (NaN, infinity, a cycle, a key twice),
///   cairn.LimitExceededError. Each message has the path ("state_data['tools'][3].result").
State state_of(pybind11::handle object, std::string_view name, const StateLimits& limits);

/// The opaque state of the bytes that `object` (bytes, or another object with a buffer in one piece) has now. The GIL
/// must be held. Raises: TypeError (no such buffer), cairn.InvalidArgumentError (the type), cairn.LimitExceededError.
State opaque_state_of(pybind11::handle object, std::string_view name, std::string_view state_type,
                      const StateLimits& limits);

}  // namespace cairn::python
