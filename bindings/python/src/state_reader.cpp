#include "state_reader.h"

namespace cairn::python {

pybind11::object object_of(std::string_view text) {
    return pybind11::module_::import("json").attr("loads")(text);
}

}  // namespace cairn::python
