#pragma once

// Python's own types that stand for a JSON value without being one.

#include <pybind11/pybind11.h>

#include <optional>

namespace cairn::python {

/// What an object is written as.
struct Form {
    enum class Kind {
        kValue,    ///< `object`, which is something else to be written.
        kMembers,  ///< `object`, a dict whose keys are the original's attributes.
        kSet,      ///< `object`, a set: its items in the order of their texts.
        kItems,    ///< `object`, a list of key-value pairs: a mapping.
        kNone      ///< It has no JSON form.
    };
    Kind kind;
    pybind11::object object = {};
};

/// The documented form of an object that is no str, int, float, bool, None, dict, list or tuple (but may be a
/// subclass). May run Python code and raise what that raises.
Form form_of(pybind11::handle object);

}  // namespace cairn::python
