#include "state_writer.h"

#include "errors.h"

namespace cairn::python {

State state_of(pybind11::handle object, std::string_view name, const StateLimits& limits) {
    (void)name;
    const auto text = pybind11::module_::import("json").attr("dumps")(object).cast<std::string>();
    return value_of(State::parse(text, limits));
}

}  // namespace cairn::python
