// The module `cairn._cairn`: the engine as the package `cairn` uses it.

#include "calls.h"
#include "errors.h"
#include "execution.h"
#include "log_queue.h"
#include "save_watchers.h"
#include "service_handle.h"
#include "settings.h"
#include "state_reader.h"
#include "state_writer.h"
#include "store_handle.h"

#include <pybind11/pybind11.h>

#include <exception>
#include <string_view>

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

void fill(py::module_& module) {
    module.attr("__version__") = CAIRN_VERSION;
    bind_calls(module);
    bind_log(module);
    bind_config(module);
    bind_save_watchers(module);
    bind_store(module);
    bind_execution(module);
    bind_service(module);
    module.def("error_rows", &error_rows);
    module.def("dumps", &dumps, py::arg("object"), py::arg("name") = "state_data",
               "The normal text that is saved for an object, in UTF-8.");
    module.def("loads", &loads, py::arg("text"), "The dict that a JSON text says.");
}

// The module is initialised in two phases, so that each import can be checked for its interpreter. The engine's types,
// and the GIL that its calls release, are those of the main interpreter. An interpreter has one module, however often
// it is imported.

constexpr const char* kName = "cairn._cairn";

PyObject* module_of_this_interpreter() {
    return PyDict_GetItemString(PyInterpreterState_GetDict(PyInterpreterState_Get()), kName);
}

PyObject* create(PyObject* /*spec*/, PyModuleDef* /*definition*/) {
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(
            PyExc_ImportError,
            "cairn works in the main interpreter only, and this is a subinterpreter: run the program in the "
            "main one (mod_wsgi: WSGIApplicationGroup %{GLOBAL}; uWSGI: single-interpreter = true)");
        return nullptr;
    }
    PyObject* const known = module_of_this_interpreter();
    if (known == nullptr) return PyModule_New(kName);
    Py_INCREF(known);
    return known;
}

int execute(PyObject* object) {
    if (module_of_this_interpreter() != nullptr) return 0;
    try {
        py::detail::get_internals();
        auto module = py::reinterpret_borrow<py::module_>(object);
        fill(module);
        return PyDict_SetItemString(PyInterpreterState_GetDict(PyInterpreterState_Get()), kName, object);
    } catch (py::error_already_set& error) {
        py::raise_from(error, PyExc_ImportError, "initialization failed");
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_ImportError, error.what());
    }
    return -1;
}

PyModuleDef_Slot slots[] = {
    {Py_mod_create, reinterpret_cast<void*>(&create)}, {Py_mod_exec, reinterpret_cast<void*>(&execute)}, {0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT, kName, nullptr, 0, nullptr, slots, nullptr, nullptr, nullptr};

}  // namespace
}  // namespace cairn::python

// Python prescribes the name.
extern "C" PYBIND11_EXPORT PyObject*
PyInit__cairn();  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming)

PyObject* PyInit__cairn() {  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming)
    PYBIND11_CHECK_PYTHON_VERSION
    return PyModuleDef_Init(&cairn::python::definition);
}
