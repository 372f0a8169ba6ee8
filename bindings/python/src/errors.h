#pragma once

// Errors of the engine as Python exceptions.

#include <cairn/error.h>

#include <pybind11/pybind11.h>

#include <string_view>
#include <utility>

namespace cairn::python {

/// A text for people as a str. It may quote bytes that are not UTF-8 (a path, a variable): they are replaced.
pybind11::str readable(std::string_view text);

/// The exception of `cairn.errors` for the error's code. The GIL must be held.
pybind11::object exception_of(const Error& error);
/// Raises it.
[[noreturn]] void raise(const Error& error);

/// Returns the value, or raises the error. The GIL must be held.
template <class T>
T value_of(Result<T>&& result) {
    if (!result) raise(result.error());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// The rows of the error table, for `cairn.errors`: (name, python_exception, retry, advice).
pybind11::list error_rows();

}  // namespace cairn::python
