#include "state_writer.h"

#include "errors.h"
#include "open_containers.h"
#include "special_types.h"
#include "text_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace cairn::python {

namespace py = pybind11;

namespace {

// The size of the last text is the size hint for the next one.
thread_local std::size_t last_size = 1024;
constexpr std::size_t kSizeHintMax = 4 << 20;

// An object may stand for another one, and that for a third. A chain longer than this counts as endless.
constexpr int kStandInsMax = 64;

std::string type_name(py::handle object) {
    return Py_TYPE(object.ptr())->tp_name;
}

py::object checked(PyObject* object) {
    if (object == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(object);
}

/// Walks an object without recursion, so that it may be nested as deep as the limit allows on any thread's stack. With
/// JSON's own types no Python code can run, nothing can change, and no reference is counted. Before Python code may run
/// (`ask`), all open containers are pinned.
class StateWriter {
public:
    StateWriter(std::string_view name, const StateLimits& limits)
        : name_(name),
          depth_max_(limits.depth_max),
          bytes_max_(std::min(limits.bytes_max, StateLimits::kBytesMaxUpper)),
          out_(std::min(last_size + last_size / 8, kSizeHintMax), bytes_max_) {}

    State write(py::handle object) try {
        const auto root = py::reinterpret_borrow<py::object>(object);
        write_value(root.ptr());
        if (out_.text().front() != '{') {
            throw py::type_error(
                fmt::format("{} must be a dict, a dataclass or a model, not {}", name_, type_name(object)));
        }
        while (!open_.empty()) write_member();
        std::string text = out_.release();
        last_size = text.size();
        return State::from_normal_text(std::move(text));
    } catch (const TextWriter::TooLong&) {
        refuse_cycle();
        raise({.code = ErrorCode::kLimitExceeded,
               .message = fmt::format("{} has more than {} bytes, which is bytes_max (CAIRN_STATE_BYTES_MAX)", name_,
                                      bytes_max_)});
    }

private:
    // Writes the next member, or closes the container if it has no more.
    void write_member() {
        OpenContainer& container = open_.top();
        if (!container.advance()) return close(container);
        if (container.is_object()) {
            write_key(container);
        } else if (container.is_set()) {
            container.held().item_begins.push_back(out_.size());
        }
        write_value(container.value());
    }

    // Writes a value and a comma behind it, which the end of a container replaces.
    void write_value(PyObject* object) {
        if (PyUnicode_CheckExact(object)) return out_.append_string(object, ',');
        if (PyDict_CheckExact(object)) return open('{', OpenContainer::of_dict(object));
        if (PyLong_CheckExact(object)) return write_integer(object);
        if (PyList_CheckExact(object)) return open('[', OpenContainer::of_list(object));
        if (object == Py_None) return out_.append("null,");
        if (object == Py_True) return out_.append("true,");
        if (object == Py_False) return out_.append("false,");
        if (PyFloat_CheckExact(object)) return write_float(object);
        if (PyTuple_CheckExact(object)) return open('[', OpenContainer::of_list(object));
        write_other(object);
    }

    void write_integer(PyObject* integer) {
        int overflow = 0;
        const long long value = PyLong_AsLongLongAndOverflow(integer, &overflow);
        if (overflow == 0) return out_.append_integer(value, ',');
        open_.pin_all();  // Later versions of Python write large integers in Python code.
        out_.append(digits_of(integer).cast<std::string_view>());
        out_.append(',');
    }

    py::object digits_of(PyObject* integer) {
        auto digits = py::reinterpret_steal<py::object>(PyLong_Type.tp_repr(integer));
        if (digits) return digits;
        if (PyErr_ExceptionMatches(PyExc_ValueError) == 0) throw py::error_already_set();
        PyErr_Clear();
        raise({.code = ErrorCode::kLimitExceeded,
               .message = fmt::format("{} is an integer with more digits than Python writes "
                                      "(sys.set_int_max_str_digits)",
                                      open_.path(name_))});
    }

    void write_float(PyObject* number) { out_.append_float(finite(number), ','); }

    double finite(PyObject* number) {
        const double value = PyFloat_AS_DOUBLE(number);
        if (std::isfinite(value)) return value;
        raise({.code = ErrorCode::kInvalidState,
               .message = fmt::format("{} is {}, which JSON cannot say", open_.path(name_), value)});
    }

    void open(char bracket, OpenContainer&& container) {
        open_.open(std::move(container));
        out_.append(bracket);
        if (open_.depth() > depth_max_) [[unlikely]]
            refuse_depth();
    }

    void close(OpenContainer& container) {
        if (container.is_set()) sort_items(container.held().item_begins);
        out_.close(container.is_object() ? '}' : ']');
        open_.close();
    }

    // Sorts by text: this order does not depend on the process, so equal sets have equal texts.
    void sort_items(const std::vector<std::size_t>& begins) {
        if (begins.size() < 2) return;
        std::vector<std::string> items;
        for (std::size_t i = 0; i < begins.size(); ++i) {
            const std::size_t end = i + 1 < begins.size() ? begins[i + 1] : out_.size();
            items.emplace_back(out_.text().substr(begins[i], end - 1 - begins[i]));
        }
        std::ranges::sort(items);
        char* to = out_.bytes_from(begins[0]);
        for (const std::string& item : items) {
            to = std::ranges::copy(item, to).out;
            *to++ = ',';
        }
    }

    void write_key(OpenContainer& container) {
        if (PyUnicode_CheckExact(container.key()) && !container.checks_keys()) [[likely]] {
            return out_.append_string(container.key(), ':');
        }
        open_.pin_all();
        const py::object text = key_text(container.key());
        refuse_repeated_key(container, text);
        out_.append_string(text.ptr(), ':');
    }

    // Returns the text that json.dumps writes, or the form of an object whose form is a str. It is exactly a str.
    py::object key_text(PyObject* key) {
        auto held = py::reinterpret_borrow<py::object>(key);
        for (int i = 0; i < kStandInsMax; ++i) {
            Form form = ask(&form_of_scalar, held.ptr());
            if (form.kind == Form::Kind::kNone) return text_of_scalar_key(held.ptr());
            held = std::move(form.object);
        }
        refuse_endless();
    }

    py::object text_of_scalar_key(PyObject* key) {
        if (PyUnicode_Check(key) != 0) return checked(PyUnicode_FromObject(key));
        if (key == Py_None) return py::str("null");
        if (key == Py_True) return py::str("true");
        if (key == Py_False) return py::str("false");
        if (PyLong_Check(key) != 0) return digits_of(key);
        if (PyFloat_Check(key) != 0) return finite(key), checked(PyFloat_Type.tp_repr(key));
        throw py::type_error(
            fmt::format("{} has a key of type {}: give a str, int, float, bool, None, UUID, date or Enum",
                        open_.path_of_top(name_), type_name(key)));
    }

    // Plain str keys of a dict always differ. Once there is a key of another kind, all keys are compared.
    void refuse_repeated_key(OpenContainer& container, const py::object& text) {
        py::object& texts = container.held().key_texts;
        if (!texts) {
            texts = py::set();
            for (PyObject* const key : container.keys_before()) add_key(texts, key);
        }
        const int is_known = PySet_Contains(texts.ptr(), text.ptr());
        if (is_known < 0) throw py::error_already_set();
        if (is_known == 0) return add_key(texts, text.ptr());
        raise({.code = ErrorCode::kInvalidState,
               .message = fmt::format("{} has two keys that become the same text, one of them of type {}",
                                      open_.path_of_top(name_), type_name(container.key()))});
    }

    static void add_key(const py::object& texts, PyObject* key) {
        if (PySet_Add(texts.ptr(), key) != 0) throw py::error_already_set();
    }

    // Writes an instance of a subclass of JSON's types, or of another Python type.
    void write_other(PyObject* object) {
        if (stand_ins_ == kStandInsMax) refuse_endless();
        const bool is_scalar = PyUnicode_Check(object) != 0 || PyLong_Check(object) != 0 || PyFloat_Check(object) != 0;
        Form form = ask(is_scalar ? &form_of_scalar : &form_of, object);
        using Step = OpenContainer::Step;
        switch (form.kind) {
            case Form::Kind::kValue:
                return write_stand_in(object, std::move(form.object));
            case Form::Kind::kAttributes:
                return open('{', OpenContainer::of_tuple(object, std::move(form.object), Step::kAttribute));
            case Form::Kind::kMembers:
                return open('{', OpenContainer::of_tuple(object, std::move(form.object), Step::kKey));
            case Form::Kind::kItems:
                return open('[', OpenContainer::of_tuple(object, std::move(form.object), Step::kIndex));
            case Form::Kind::kSet:
                return open('[', OpenContainer::of_tuple(object, std::move(form.object), Step::kElementOfSet));
            case Form::Kind::kNone:
                return write_scalar(object);
        }
    }

    void write_stand_in(PyObject* object, py::object stand_in) {
        const std::size_t depth = open_.depth();
        ++stand_ins_;
        write_value(stand_in.ptr());
        --stand_ins_;
        if (open_.depth() > depth) open_.top().stand_for(object, std::move(stand_in));
    }

    void write_scalar(PyObject* object) {
        if (PyUnicode_Check(object) != 0) return out_.append_string(object, ',');
        if (PyLong_Check(object) != 0) return write_integer(object);
        if (PyFloat_Check(object) != 0) return write_float(object);
        throw py::type_error(fmt::format(
            "{} is of type {}, which has no JSON form: give a dict, list, tuple, set, str, int, float, bool, "
            "None, datetime, date, UUID, Enum, Decimal, bytes, dataclass or model, or convert it first",
            open_.path(name_), type_name(object)));
    }

    // Python code may run here, also by garbage collection. Its exceptions pass, with the path as a note (PEP 678).
    Form ask(Form (*question)(py::handle), PyObject* object) {
        open_.pin_all();
        try {
            return question(object);
        } catch (const py::type_error& error) {
            throw py::type_error(
                fmt::format("{} is of type {}: {}", open_.path(name_), type_name(object), error.what()));
        } catch (py::error_already_set& error) {
            if (py::hasattr(error.value(), "add_note")) {
                error.value().attr("add_note")("while reading " + open_.path(name_));
            }
            throw;
        }
    }

    [[noreturn]] void refuse_endless() {
        raise({.code = ErrorCode::kInvalidState,
               .message =
                   fmt::format("{} stands for another object, and that for another, without end", open_.path(name_))});
    }

    [[noreturn]] void refuse_depth() {
        refuse_cycle();
        raise({.code = ErrorCode::kLimitExceeded,
               .message = fmt::format("nested deeper than depth_max={} (CAIRN_STATE_DEPTH_MAX) at {}", depth_max_,
                                      open_.path(name_))});
    }

    void refuse_cycle() {
        const auto cycle = open_.find_cycle(name_);
        if (!cycle) return;
        raise({.code = ErrorCode::kInvalidState,
               .message = fmt::format("{} is {} again: a state cannot contain itself", cycle->inner, cycle->outer)});
    }

    std::string_view name_;
    std::uint64_t depth_max_;
    std::uint64_t bytes_max_;
    TextWriter out_;
    OpenContainers open_;
    int stand_ins_ = 0;  // in the current chain
};

}  // namespace

State state_of(py::handle object, std::string_view name, const StateLimits& limits) {
    return StateWriter(name, limits).write(object);
}

State opaque_state_of(py::handle object, std::string_view name, std::string_view state_type,
                      const StateLimits& limits) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(object.ptr(), &buffer, PyBUF_SIMPLE) != 0) {
        PyErr_Clear();
        throw py::type_error(fmt::format("{} must be bytes, which state_type \"{}\" is of, not {}", name, state_type,
                                         type_name(object)));
    }
    const std::unique_ptr<Py_buffer, decltype(&PyBuffer_Release)> held(&buffer, &PyBuffer_Release);
    const std::string_view bytes(static_cast<const char*>(buffer.buf), static_cast<std::size_t>(buffer.len));
    return value_of(State::opaque(state_type, bytes, limits));
}

}  // namespace cairn::python
