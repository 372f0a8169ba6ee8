#include "object_path.h"

#include <algorithm>
#include <unordered_map>

namespace cairn::python {

namespace py = pybind11;

namespace {

// A long key is told by its beginning: a message is for a person.
constexpr Py_ssize_t kKeyLengthMax = 80;

std::string quoted(PyObject* key) {
    const auto text = py::reinterpret_borrow<py::object>(key);
    if (PyUnicode_Check(key) == 0 || py::len(text) <= kKeyLengthMax) return py::repr(text).cast<std::string>();
    return py::repr(text[py::slice(0, kKeyLengthMax, 1)]).cast<std::string>() + "…";
}

std::string step_text(const ObjectPath::Level& level) {
    switch (level.step) {
        case ObjectPath::Step::kIndex:
            return "[" + std::to_string(level.index) + "]";
        case ObjectPath::Step::kAttribute:
            return level.key == nullptr ? "" : "." + py::str(level.key).cast<std::string>();
        case ObjectPath::Step::kKey:
            return level.key == nullptr ? "" : "[" + quoted(level.key) + "]";
    }
    return "";
}

}  // namespace

std::string ObjectPath::text(std::string_view name, std::size_t levels) const {
    std::string path(name);
    for (std::size_t i = 0; i < levels; ++i) path += step_text(levels_[i]);
    return path;
}

std::optional<ObjectPath::Cycle> ObjectPath::find_cycle(std::string_view name) const {
    std::unordered_map<PyObject*, std::size_t> seen;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
        const auto [outer, is_new] = seen.emplace(levels_[i].container, i);
        if (!is_new) return Cycle{.inner = text(name, i), .outer = text(name, outer->second)};
    }
    return std::nullopt;
}

}  // namespace cairn::python
