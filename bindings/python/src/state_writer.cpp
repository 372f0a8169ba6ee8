#include "state_writer.h"

#include "errors.h"
#include "object_path.h"
#include "special_types.h"
#include "text_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace cairn::python {

namespace py = pybind11;

namespace {

using Step = ObjectPath::Step;

// What is written last says how much room the next one should have.
std::atomic<std::size_t> last_size = 1024;

std::string type_name(py::handle object) {
    return Py_TYPE(object.ptr())->tp_name;
}

/// Walks an object. References that it does not own stay alive because their containers are held; as soon as Python
/// code may run, which could change these, the object at hand is held by itself.
class StateWriter {
public:
    StateWriter(std::string_view name, const StateLimits& limits)
        : name_(name), limits_(limits), out_(std::min(last_size + last_size / 8 + 64, limits.bytes_max + 64)) {}

    State write(py::handle object) {
        write_value(object.ptr());
        if (out_.text().front() != '{') {
            throw py::type_error(
                fmt::format("{} must be a dict, a dataclass or a model, not {}", name_, type_name(object)));
        }
        check_size();
        last_size = out_.size();
        return State::from_normal_text(out_.release());
    }

private:
    void write_value(PyObject* object) {
        if (PyUnicode_CheckExact(object)) return out_.append_string(object);
        if (PyDict_CheckExact(object)) return write_dict(object);
        if (PyList_CheckExact(object)) return write_list(object);
        if (PyLong_CheckExact(object)) return write_integer(object);
        if (object == Py_None) return out_.append("null");
        if (object == Py_True) return out_.append("true");
        if (object == Py_False) return out_.append("false");
        if (PyFloat_CheckExact(object)) return write_float(object);
        if (PyTuple_CheckExact(object)) return write_tuple(object);
        write_other(object);
    }

    void write_held(PyObject* object) {
        const auto held = py::reinterpret_borrow<py::object>(object);
        write_value(object);
    }

    void write_dict(PyObject* dict) {
        enter(dict, Step::kKey);
        out_.append('{');
        PyObject* key = nullptr;
        PyObject* value = nullptr;
        Py_ssize_t position = 0;
        const Py_ssize_t size = PyDict_Size(dict);
        bool is_first = true;
        bool has_other_keys = false;
        while (PyDict_Next(dict, &position, &key, &value) != 0) {
            const auto key_held = py::reinterpret_borrow<py::object>(key);
            const auto value_held = py::reinterpret_borrow<py::object>(value);
            if (!std::exchange(is_first, false)) out_.append(',');
            has_other_keys |= write_key(key);
            write_value(value);
            if (PyDict_Size(dict) != size) has_changed();
        }
        if (has_other_keys) check_keys(dict_keys(dict));
        close('}');
    }

    void write_list(PyObject* list) {
        enter(list, Step::kIndex);
        out_.append('[');
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); ++i) {
            if (i > 0) out_.append(',');
            path_.top().index = i;
            write_held(PyList_GET_ITEM(list, i));
        }
        close(']');
    }

    void write_tuple(PyObject* tuple) {
        enter(tuple, Step::kIndex);
        out_.append('[');
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); ++i) {
            if (i > 0) out_.append(',');
            path_.top().index = i;
            write_value(PyTuple_GET_ITEM(tuple, i));
        }
        close(']');
    }

    // A list of pairs, in the place of the mapping that it was made from.
    void write_items(PyObject* mapping, const py::object& items, Step step) {
        enter(mapping, step);
        out_.append('{');
        bool is_first = true;
        bool has_other_keys = false;
        std::vector<py::object> keys;
        for (const py::handle item : items) {
            const auto pair = py::reinterpret_borrow<py::tuple>(item);
            keys.push_back(pair[0]);
            const py::object value = pair[1];
            if (!std::exchange(is_first, false)) out_.append(',');
            has_other_keys |= write_key(keys.back().ptr());
            write_value(value.ptr());
        }
        if (has_other_keys) check_keys(keys);
        close('}');
    }

    // In an order that does not depend on the process, so that equal sets are equal texts.
    void write_set(PyObject* set) {
        enter(set, Step::kIndex);
        const std::size_t begin = out_.size();
        std::vector<std::string> texts;
        for (const py::handle item : py::list(py::reinterpret_borrow<py::object>(set))) {
            write_held(item.ptr());
            texts.emplace_back(out_.text().substr(begin));
            out_.take_back(begin);
            ++path_.top().index;
        }
        std::ranges::sort(texts);
        out_.append('[');
        for (const std::string& text : texts) {
            if (&text != &texts.front()) out_.append(',');
            out_.append(text);
        }
        close(']');
    }

    // The key with its colon. True: it is no str, so another key may have the same text.
    bool write_key(PyObject* key) {
        path_.top().key = nullptr;
        const bool is_string = PyUnicode_Check(key) != 0;
        if (is_string) {
            path_.top().key = key;
            out_.append_string(key);
        } else {
            out_.append_string(key_text(key).ptr());
            path_.top().key = key;
        }
        out_.append(':');
        return !is_string;
    }

    // As json.dumps does it; beyond that what has a form that is a str.
    py::str key_text(PyObject* key) {
        if (PyUnicode_Check(key) != 0) return py::reinterpret_borrow<py::str>(key);
        const std::size_t begin = out_.size();
        if (key == Py_None || PyLong_Check(key) != 0 || PyFloat_Check(key) != 0) {
            if (PyObject_IsInstance(key, enumeration().ptr()) == 0) {
                write_value(key);
                const std::string text(out_.text().substr(begin));
                out_.take_back(begin);
                return text;
            }
        }
        const Form form = PyTuple_Check(key) != 0 ? Form{Form::Kind::kNone} : form_of(key);
        if (form.kind == Form::Kind::kValue) return key_text(form.object.ptr());
        throw py::type_error(
            fmt::format("{} has a key of type {}: give a str, int, float, bool, None, UUID, date or Enum",
                        path_.text(name_), type_name(key)));
    }

    static py::object enumeration() { return py::module_::import("enum").attr("Enum"); }

    static std::vector<py::object> dict_keys(PyObject* dict) {
        std::vector<py::object> keys;
        for (const py::handle key : py::list(py::reinterpret_borrow<py::object>(dict))) {
            keys.push_back(py::reinterpret_borrow<py::object>(key));
        }
        return keys;
    }

    void check_keys(const std::vector<py::object>& keys) {
        path_.top().key = nullptr;
        std::unordered_set<std::string> texts;
        for (const py::object& key : keys) {
            const auto text = key_text(key.ptr()).attr("encode")("utf-8", "surrogatepass").cast<std::string>();
            if (texts.insert(text).second) continue;
            raise({.code = ErrorCode::kInvalidState,
                   .message = fmt::format("{} has two keys that become the same text, one of them the {} {}",
                                          path_.text(name_), type_name(key), py::repr(key).cast<std::string>())});
        }
    }

    void write_integer(PyObject* integer) {
        int overflow = 0;
        const long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
        if (overflow == 0) return out_.append_integer(value);
        const auto text = py::reinterpret_steal<py::object>(PyLong_Type.tp_repr(integer));
        if (!text) {
            PyErr_Clear();
            raise({.code = ErrorCode::kLimitExceeded,
                   .message = fmt::format("{} is an integer with more digits than Python writes "
                                          "(sys.set_int_max_str_digits)",
                                          path_.text(name_))});
        }
        out_.append(text.cast<std::string_view>());
    }

    void write_float(PyObject* number) {
        const double value = PyFloat_AS_DOUBLE(number);
        if (!std::isfinite(value)) {
            raise({.code = ErrorCode::kInvalidState,
                   .message = fmt::format("{} is {}, which JSON cannot say", path_.text(name_), value)});
        }
        out_.append_float(value);
    }

    // Subclasses of what JSON has, and Python's other types.
    void write_other(PyObject* object) {
        const auto held = py::reinterpret_borrow<py::object>(object);
        const auto with_path = [&](const auto& ask) {
            try {
                return ask();
            } catch (py::error_already_set& error) {
                note_place(error);
                throw;
            }
        };
        const bool is_scalar = PyUnicode_Check(object) != 0 || PyLong_Check(object) != 0 || PyFloat_Check(object) != 0;
        const Form form = with_path([&]() -> Form {
            if (is_scalar && PyObject_IsInstance(object, enumeration().ptr()) == 0) return {Form::Kind::kNone};
            if (PyList_Check(object) != 0 || PyTuple_Check(object) != 0)
                return {Form::Kind::kValue, exact_tuple(object)};
            return form_of(object);
        });
        switch (form.kind) {
            case Form::Kind::kValue:
                return write_value(form.object.ptr());
            case Form::Kind::kMembers:
                return write_members(object, form.object);
            case Form::Kind::kSet:
                return write_set(object);
            case Form::Kind::kItems:
                return write_items(object, form.object, Step::kKey);
            case Form::Kind::kNone:
                return is_scalar ? write_scalar(object) : has_no_form(object);
        }
    }

    static py::object exact_tuple(PyObject* sequence) {
        auto tuple = py::reinterpret_steal<py::object>(PySequence_Tuple(sequence));
        if (!tuple) throw py::error_already_set();
        return tuple;
    }

    void write_members(PyObject* object, const py::object& members) {
        write_items(object, py::list(members.attr("items")()), Step::kAttribute);
    }

    void write_scalar(PyObject* object) {
        if (PyUnicode_Check(object) != 0) return out_.append_string(object);
        PyLong_Check(object) != 0 ? write_integer(object) : write_float(object);
    }

    [[noreturn]] void has_no_form(PyObject* object) {
        throw py::type_error(fmt::format(
            "{} is of type {}, which has no JSON form: give a dict, list, tuple, set, str, int, float, bool, "
            "None, datetime, date, UUID, Enum, Decimal, bytes, dataclass or model, or convert it first",
            path_.text(name_), type_name(object)));
    }

    [[noreturn]] void has_changed() {
        path_.top().key = nullptr;
        throw std::runtime_error(fmt::format("{}: the dict changed while it was being read", path_.text(name_)));
    }

    // PEP 678: the exception stays what it was.
    void note_place(py::error_already_set& error) {
        const std::string place = "while reading " + path_.text(name_);
        if (py::hasattr(error.value(), "add_note")) error.value().attr("add_note")(place);
    }

    void enter(PyObject* container, Step step) {
        path_.enter(container, step);
        if (path_.depth() <= limits_.depth_max && out_.size() <= limits_.bytes_max) return;
        check_size();
        refuse_cycle();
        path_.leave();
        raise({.code = ErrorCode::kLimitExceeded,
               .message = fmt::format("nested deeper than depth_max={} (CAIRN_STATE_DEPTH_MAX) at {}",
                                      limits_.depth_max, path_.text(name_))});
    }

    void close(char bracket) {
        path_.leave();
        out_.append(bracket);
        if (out_.size() > limits_.bytes_max) [[unlikely]]
            check_size();
    }

    void check_size() {
        if (out_.size() <= limits_.bytes_max) return;
        refuse_cycle();
        raise({.code = ErrorCode::kLimitExceeded,
               .message = fmt::format("{} has more than {} bytes, which is bytes_max (CAIRN_STATE_BYTES_MAX)", name_,
                                      limits_.bytes_max)});
    }

    void refuse_cycle() {
        const auto cycle = path_.find_cycle(name_);
        if (!cycle) return;
        raise({.code = ErrorCode::kInvalidState,
               .message = fmt::format("{} is {} again: a state cannot contain itself", cycle->inner, cycle->outer)});
    }

    std::string_view name_;
    const StateLimits& limits_;
    TextWriter out_;
    ObjectPath path_;
};

}  // namespace

State state_of(py::handle object, std::string_view name, const StateLimits& limits) {
    return StateWriter(name, limits).write(object);
}

}  // namespace cairn::python
