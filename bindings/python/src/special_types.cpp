#include "special_types.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

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
    py::object base64 = py::module_::import("binascii").attr("b2a_base64");
};

// Never destroyed: the interpreter ends first. Not a local static, which holds a lock: importing releases the GIL.
const Types& types() {
    static const Types* known = nullptr;
    if (known == nullptr) {
        auto imported = std::make_unique<const Types>();
        if (known == nullptr) known = imported.release();
    }
    return *known;
}

// Looks at the object's class only, not at __instancecheck__ or __class__.
bool is_a(py::handle object, const py::object& type) {
    return PyObject_TypeCheck(object.ptr(), reinterpret_cast<PyTypeObject*>(type.ptr())) != 0;
}

py::object checked(PyObject* object) {
    if (object == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(object);
}

Form value(py::object object) {
    return {Form::Kind::kValue, std::move(object)};
}

// The object must be a str, so that it is written at once and not asked for its form again.
Form text(const py::object& object) {
    if (PyUnicode_Check(object.ptr()) == 0) {
        throw py::type_error(fmt::format("its text is no str but {}", Py_TYPE(object.ptr())->tp_name));
    }
    return value(object);
}

py::object items_of(py::handle object) {
    return checked(PySequence_Tuple(object.ptr()));
}

py::object flat_items_of(py::handle mapping) {
    py::list members;
    for (const py::handle item : items_of(mapping.attr("items")())) {
        if (PyTuple_Check(item.ptr()) == 0 || PyTuple_GET_SIZE(item.ptr()) != 2) {
            throw py::type_error("its items() are no pairs");
        }
        members.append(py::handle(PyTuple_GET_ITEM(item.ptr(), 0)));
        members.append(py::handle(PyTuple_GET_ITEM(item.ptr(), 1)));
    }
    return items_of(members);
}

Form members_of_mapping(py::handle mapping) {
    return {Form::Kind::kMembers, flat_items_of(mapping)};
}

// The form of a model's dump. It may be something other than a dict if the model's class says so.
Form dumped(py::object object) {
    if (PyDict_Check(object.ptr()) == 0) return value(std::move(object));
    return {Form::Kind::kAttributes, flat_items_of(object)};
}

Form members_of_dataclass(py::handle object) {
    py::list members;
    for (const py::handle field : types().fields_of_dataclass(object)) {
        const py::object name = field.attr("name");
        members.append(name);
        members.append(object.attr(name));
    }
    return {Form::Kind::kAttributes, items_of(members)};
}

// The base class of all models of pydantic 1.
py::object base_of_models(py::handle type) {
    for (const py::handle base : type.attr("__mro__")) {
        const auto module = py::getattr(base, "__module__", py::none());
        if (py::str("BaseModel").equal(base.attr("__name__")) && py::str("pydantic.main").equal(module)) {
            return py::reinterpret_borrow<py::object>(base);
        }
    }
    return py::none();
}

bool says_itself_plainly(py::handle type) {
    const py::object base = base_of_models(type);
    return !base.is_none() && base.attr("dict").is(type.attr("dict")) &&
           base.attr("__iter__").is(type.attr("__iter__")) &&
           py::getattr(type, "__exclude_fields__", py::none()).is_none() &&
           py::getattr(type, "__include_fields__", py::none()).is_none() &&
           !py::getattr(type, "__custom_root_type__", py::bool_(false)).cast<bool>();
}

// If the model's class does not change its dict(), the model's attributes are what dict() would give. They are read one
// by one, so that a path shows their names and a cycle is found.
Form members_of_model_1(py::handle model) {
    if (!says_itself_plainly(py::type::handle_of(model))) return dumped(model.attr("dict")());
    py::list members;
    for (const py::handle member : items_of(model)) {
        members.append(member[py::int_(0)]);
        members.append(member[py::int_(1)]);
    }
    return {Form::Kind::kAttributes, items_of(members)};
}

Form form_of_structure(py::handle object) {
    if (PyType_Check(object.ptr()) != 0) return {};
    const py::handle type = py::type::handle_of(object);
    if (py::hasattr(type, "model_dump")) return dumped(object.attr("model_dump")());
    if (py::hasattr(type, "__fields__") && py::hasattr(type, "parse_obj")) return members_of_model_1(object);
    if (py::hasattr(type, "__dataclass_fields__")) return members_of_dataclass(object);
    if (py::isinstance(object, types().mapping)) return members_of_mapping(object);
    return {};
}

Form form_of_decimal(py::handle decimal) {
    if (decimal.attr("is_finite")().cast<bool>()) return text(py::str(decimal));
    const bool is_infinite = decimal.attr("is_infinite")().cast<bool>();
    return value(py::float_(is_infinite ? Py_HUGE_VAL : Py_NAN));
}

Form form_of_bytes(py::handle bytes) {
    using namespace py::literals;
    return text(types().base64(bytes, "newline"_a = false).attr("decode")("ascii"));
}

}  // namespace

Form form_of_scalar(py::handle object) {
    const Types& known = types();
    if (is_a(object, known.enumeration)) return value(object.attr("value"));
    if (is_a(object, known.date) || is_a(object, known.time)) return text(object.attr("isoformat")());
    if (is_a(object, known.uuid)) return text(py::str(object));
    return {};
}

Form form_of(py::handle object) {
    if (Form form = form_of_scalar(object); form.kind != Form::Kind::kNone) return form;
    const Types& known = types();
    PyObject* const pointer = object.ptr();
    if (PyList_Check(pointer) != 0 || PyTuple_Check(pointer) != 0) return {Form::Kind::kItems, items_of(object)};
    if (PyAnySet_Check(pointer) != 0) return {Form::Kind::kSet, items_of(object)};
    if (PyDict_Check(pointer) != 0) return members_of_mapping(object);
    if (PyBytes_Check(pointer) != 0 || PyByteArray_Check(pointer) != 0) return form_of_bytes(object);
    if (is_a(object, known.decimal)) return form_of_decimal(object);
    if (is_a(object, known.timedelta)) return value(object.attr("total_seconds")());
    return form_of_structure(object);
}

}  // namespace cairn::python
