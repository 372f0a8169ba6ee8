#pragma once

// A persistence service as the package holds it.

#include <pybind11/pybind11.h>

namespace cairn::python {

void bind_service(pybind11::module_& module);

}  // namespace cairn::python
