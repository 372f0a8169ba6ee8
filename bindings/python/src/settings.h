#pragma once

// `Config` for Python.

#include <pybind11/pybind11.h>

namespace cairn::python {

void bind_config(pybind11::module_& module);

}  // namespace cairn::python
