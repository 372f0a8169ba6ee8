#pragma once

// Python types that are not JSON values but have a JSON form.

#include <pybind11/pybind11.h>

#include <cstdint>

namespace cairn::python {

/// The form in which an object is written.
struct Form {
    enum class Kind : std::uint8_t {
        kNone,        ///< It has no JSON form.
        kValue,       ///< `object` is another object, to be written instead.
        kAttributes,  ///< `object` is a tuple: name and value of each attribute in turn.
        kMembers,     ///< `object` is a tuple: key and value of each member in turn.
        kItems,       ///< `object` is a tuple of the items.
        kSet          ///< `object` is a tuple of the items. They are written in the order of their texts.
    };
    Kind kind = Kind::kNone;
    pybind11::object object = {};
};

/// Returns the documented form of an object whose type is not exactly str, int, float, bool, None, dict, list or tuple
/// (it may be a subclass). Runs Python code, and passes on its exceptions. Raises TypeError if that code returns a
/// value of the wrong type.
Form form_of(pybind11::handle object);

/// The same for a key, or for an instance of a subclass of str, int or float. Returns kValue or kNone.
Form form_of_scalar(pybind11::handle object);

}  // namespace cairn::python
