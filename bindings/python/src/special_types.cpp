#include "special_types.h"

namespace cairn::python {

namespace py = pybind11;

namespace {

struct Types {
    py::object enumeration = py::module_::import("enum").attr("Enum");
    py::object datetime = py::module_::import("datetime").attr("datetime");
    py::object date = py::module_::import("datetime").attr("date");
    py::object time = py::module_::import("datetime").attr("time");
    py::object timedelta = py::module_::import("datetime").attr("timedelta");
    py::object uuid = py::module_::import("uuid").attr("UUID");
    py::object decimal = py::module_::import("decimal").attr("Decimal");
    py::object mapping = py::module_::import("collections.abc").attr("Mapping");
    py::object fields_of_dataclass = py::module_::import("dataclasses").attr("fields");
    py::object base64 = py::module_::import("base64").attr("b64encode");
};

// Never destroyed: the interpreter ends first.
const Types& types() {
    static const auto* const all = new Types();
    return *all;
}

Form value(py::object object) {
    return {Form::Kind::kValue, std::move(object)};
}

py::dict members_of_dataclass(py::handle object) {
    py::dict members;
    for (const py::handle field : types().fields_of_dataclass(object)) {
        const py::object name = field.attr("name");
        members[name] = object.attr(name);
    }
    return members;
}

// Of version 2 and of version 1: the model's own way to become a dict, with what it excludes and how it serialises.
std::optional<py::object> members_of_model(py::handle object) {
    const py::handle type = py::type::handle_of(object);
    if (py::hasattr(type, "model_dump")) return object.attr("model_dump")();
    if (py::hasattr(type, "__fields__") && py::hasattr(type, "parse_obj")) return object.attr("dict")();
    return std::nullopt;
}

std::optional<Form> builtin_form(py::handle object) {
    if (PyAnySet_Check(object.ptr()) != 0) return Form{Form::Kind::kSet, py::reinterpret_borrow<py::object>(object)};
    if (PyDict_Check(object.ptr()) != 0) return Form{Form::Kind::kItems, py::list(object.attr("items")())};
    if (PyBytes_Check(object.ptr()) != 0 || PyByteArray_Check(object.ptr()) != 0) {
        return value(types().base64(object).attr("decode")("ascii"));
    }
    return std::nullopt;
}

}  // namespace

Form form_of(py::handle object) {
    const Types& known = types();
    if (py::isinstance(object, known.enumeration)) return value(object.attr("value"));
    if (auto form = builtin_form(object)) return *std::move(form);
    if (py::isinstance(object, known.datetime) || py::isinstance(object, known.date) ||
        py::isinstance(object, known.time)) {
        return value(object.attr("isoformat")());
    }
    if (py::isinstance(object, known.uuid)) return value(py::str(object));
    if (py::isinstance(object, known.decimal)) {
        if (!object.attr("is_finite")().cast<bool>())
            return value(py::float_(py::reinterpret_borrow<py::object>(object)));
        return value(py::str(object));
    }
    if (py::isinstance(object, known.timedelta)) return value(object.attr("total_seconds")());
    if (PyType_Check(object.ptr()) != 0) return {Form::Kind::kNone};
    if (auto members = members_of_model(object)) return {Form::Kind::kMembers, *std::move(members)};
    if (py::hasattr(py::type::handle_of(object), "__dataclass_fields__")) {
        return {Form::Kind::kMembers, members_of_dataclass(object)};
    }
    if (py::isinstance(object, known.mapping)) return {Form::Kind::kItems, py::list(object.attr("items")())};
    return {Form::Kind::kNone};
}

}  // namespace cairn::python
