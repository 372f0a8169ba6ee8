#include "open_containers.h"

#include <unordered_map>
#include <utility>

namespace cairn::python {

namespace py = pybind11;

namespace {

// A message is for people: it shows only the beginning of a long key, and only both ends of a long path.
constexpr Py_ssize_t kKeyLengthMax = 80;
constexpr std::size_t kStepsShownAtEachEnd = 8;

std::string quoted(py::handle text) {
    if (py::len(text) <= static_cast<std::size_t>(kKeyLengthMax)) return py::repr(text).cast<std::string>();
    return py::repr(text[py::slice(0, kKeyLengthMax, 1)]).cast<std::string>() + "…";
}

// Only keys of Python's own types are asked for their text. For the others, their own code would run.
std::string key_text(PyObject* key) {
    if (PyUnicode_CheckExact(key)) return quoted(key);
    if (PyLong_CheckExact(key) || PyBool_Check(key) || PyFloat_CheckExact(key) || key == Py_None) {
        const auto text = py::reinterpret_steal<py::object>(PyObject_Repr(key));
        if (text) return text.cast<std::string>();
        PyErr_Clear();
    }
    return std::string("<") + Py_TYPE(key)->tp_name + ">";
}

}  // namespace

HeldReferences::~HeldReferences() {
    for (PyObject* const object : objects) Py_DECREF(object);
}

void HeldReferences::add(PyObject* object) {
    objects.push_back(object);
    Py_INCREF(object);
}

OpenContainer OpenContainer::of_dict(PyObject* dict) {
    OpenContainer container;
    container.source_ = dict;
    container.dict_ = dict;
    return container;
}

OpenContainer OpenContainer::of_list(PyObject* list_or_tuple) {
    OpenContainer container;
    container.source_ = list_or_tuple;
    container.kind_ = Kind::kItems;
    container.step_ = Step::kIndex;
    container.read_from(PySequence_Fast_ITEMS(list_or_tuple), PySequence_Fast_GET_SIZE(list_or_tuple));
    return container;
}

OpenContainer OpenContainer::of_tuple(PyObject* source, py::object tuple, Step step) {
    OpenContainer container = of_list(tuple.ptr());
    container.step_ = step;
    if (step == Step::kKey || step == Step::kAttribute) container.kind_ = Kind::kMembers;
    container.stand_for(source, std::move(tuple));
    container.reads_what_it_holds_ = true;
    return container;
}

void OpenContainer::read_from(PyObject* const* items, Py_ssize_t size) {
    items_ = items;
    size_ = size;
}

bool OpenContainer::advance_in_items() {
    ++at_;
    if (kind_ == Kind::kItems) {
        if (at_ >= size_) return false;
        value_ = items_[at_];
        return true;
    }
    if (2 * at_ >= size_) return false;
    key_ = items_[2 * at_];
    value_ = items_[2 * at_ + 1];
    return true;
}

HeldReferences& OpenContainer::held() {
    if (!held_) held_ = std::make_unique<HeldReferences>();
    return *held_;
}

std::vector<PyObject*> OpenContainer::keys_before() const {
    std::vector<PyObject*> keys;
    for (Py_ssize_t i = 0; i < at_; ++i) keys.push_back(items_[2 * i]);
    return keys;
}

// Taking references runs no Python code, so the copy shows the members at one moment.
void OpenContainer::pin() {
    if (std::exchange(reads_what_it_holds_, true)) return;
    HeldReferences& references = held();
    if (kind_ == Kind::kDict) {
        PyObject* key = nullptr;
        PyObject* value = nullptr;
        for (Py_ssize_t position = 0; PyDict_Next(dict_, &position, &key, &value) != 0;) {
            references.add(key);
            references.add(value);
        }
        kind_ = Kind::kMembers;
    } else {
        for (Py_ssize_t i = 0; i < size_; ++i) references.add(items_[i]);
    }
    read_from(references.objects.data(), static_cast<Py_ssize_t>(references.objects.size()));
}

void OpenContainer::stand_for(PyObject* source, py::object stand_in) {
    source_ = source;
    held().stand_ins.push_back(std::move(stand_in));
}

std::string OpenContainer::step_text() const {
    if (at_ < 0) return "";
    switch (step_) {
        case Step::kIndex:
            return "[" + std::to_string(at_) + "]";
        case Step::kElementOfSet:
            return "{…}";
        case Step::kAttribute:
            if (key_ != nullptr && PyUnicode_CheckExact(key_)) return "." + py::str(key_).cast<std::string>();
            [[fallthrough]];
        case Step::kKey:
            return key_ == nullptr ? "" : "[" + key_text(key_) + "]";
    }
    return "";
}

void OpenContainers::close() {
    // Released last, since that may run Python code.
    const std::unique_ptr<HeldReferences> held = stack_.back().release();
    stack_.pop_back();
    pinned_ = std::min(pinned_, stack_.size());
}

void OpenContainers::pin_all() {
    for (; pinned_ < stack_.size(); ++pinned_) stack_[pinned_].pin();
}

std::string OpenContainers::path(std::string_view name, std::size_t steps) const {
    std::string path(name);
    for (std::size_t i = 0; i < steps; ++i) {
        if (i == kStepsShownAtEachEnd && steps > 2 * kStepsShownAtEachEnd) {
            i = steps - kStepsShownAtEachEnd;
            path += "…";
        }
        path += stack_[i].step_text();
    }
    return path;
}

std::optional<OpenContainers::Cycle> OpenContainers::find_cycle(std::string_view name) const {
    std::unordered_map<PyObject*, std::size_t> seen;
    for (std::size_t i = 0; i < stack_.size(); ++i) {
        const auto [outer, is_new] = seen.emplace(stack_[i].source(), i);
        if (!is_new) return Cycle{.inner = path(name, i), .outer = path(name, outer->second)};
    }
    return std::nullopt;
}

}  // namespace cairn::python
