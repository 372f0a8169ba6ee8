// The module `cairn._cairn`: the engine as the package `cairn` uses it.

#include "calls.h"
#include "errors.h"
#include "log_queue.h"
#include "service_handle.h"
#include "settings.h"
#include "state_reader.h"
#include "state_writer.h"
#include "store_handle.h"

#include <pybind11/pybind11.h>

namespace cairn::python {
namespace {

namespace py = pybind11;

py::bytes dumps(py::handle object, std::string_view name) {
    const State state = state_of(object, name, {});
    return {state.text().data(), state.text().size()};
}

py::object loads(std::string_view text) {
    return object_of(value_of(State::parse(text)).text());
}

}  // namespace
}  // namespace cairn::python

PYBIND11_MODULE(_cairn, module) {
    namespace py = pybind11;
    using namespace cairn::python;
    module.attr("__version__") = CAIRN_VERSION;
    bind_calls(module);
    bind_log(module);
    bind_config(module);
    bind_store(module);
    bind_service(module);
    module.def("error_rows", &error_rows);
    module.def("dumps", &dumps, py::arg("object"), py::arg("name") = "state_data",
               "The normal text that is saved for an object, in UTF-8.");
    module.def("loads", &loads, py::arg("text"), "The dict that a JSON text says.");
}
