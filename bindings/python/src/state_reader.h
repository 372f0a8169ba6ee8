#pragma once

// Makes Python objects from states.

#include <cairn/state.h>

#include <pybind11/pybind11.h>

#include <string_view>

namespace cairn::python {

/// Returns the dict that `json.loads` would make of `text`, a normal text. Of duplicate keys the last wins, integers
/// are exact, and lone surrogate escapes become lone surrogates. The GIL must be held. Raises: cairn.LimitExceededError
/// (an integer has more digits than `sys.get_int_max_str_digits()` allows).
pybind11::object object_of(std::string_view text);

/// A state as calls answer with it: its dict, its text and None, or an opaque state's bytes, "" and its type.
pybind11::tuple parts_of(const State& state);

}  // namespace cairn::python
