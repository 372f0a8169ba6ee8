#pragma once

// Python's own types that stand for a JSON value without being one.

#include <pybind11/pybind11.h>

#include <cstdint>

namespace cairn::python {

/// What an object is written as.
struct Form {
    enum class Kind : std::uint8_t {
        kNone,        ///< It has no JSON form.
        kValue,       ///< `object`, which is something else to be written.
        kAttributes,  ///< `object`, a tuple of the names and values of its attributes in turn.
        kMembers,     ///< `object`, a tuple of keys and values in turn.
        kItems,       ///< `object`, a tuple.
        kSet          ///< `object`, a tuple: to be written in the order of their texts.
    };
    Kind kind = Kind::kNone;
    pybind11::object object = {};
};

/// The documented form of an object that is none of exactly str, int, float, bool, None, dict, list and tuple (but may
/// be a subclass). Runs Python code, and raises what that raises; TypeError for what that gives in the wrong type.
Form form_of(pybind11::handle object);

/// The same for an object that stands as a key or is a subclass of str, int or float: kValue or kNone.
Form form_of_scalar(pybind11::handle object);

}  // namespace cairn::python
