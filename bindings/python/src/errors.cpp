#include "errors.h"

namespace cairn::python {
namespace {

namespace py = pybind11;

std::string_view to_string(Retry retry) {
    switch (retry) {
        case Retry::kNo:
            return "no";
        case Retry::kYes:
            return "yes";
        case Retry::kSameSnapshotId:
            return "same_snapshot_id";
    }
    return "no";
}

}  // namespace

py::str readable(std::string_view text) {
    auto decoded = py::reinterpret_steal<py::str>(
        PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
    if (!decoded) throw py::error_already_set();
    return decoded;
}

py::object exception_of(const Error& error) {
    return py::module_::import("cairn.errors")
        .attr("exception_of")(error_info(error.code).name, readable(error.message), readable(error.detail),
                              readable(error.next_step()));
}

void raise(const Error& error) {
    const py::object exception = exception_of(error);
    PyErr_SetObject(py::type::handle_of(exception).ptr(), exception.ptr());
    throw py::error_already_set();
}

py::list error_rows() {
    py::list rows;
    for (const ErrorInfo& info : error_table()) {
        rows.append(py::make_tuple(info.name, info.python_exception, to_string(info.retry), info.advice));
    }
    return rows;
}

}  // namespace cairn::python
