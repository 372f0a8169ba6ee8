#pragma once

// Where in a Python object a conversion is.

#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::python {

/// The containers from the outermost one to where the conversion is, with the way taken in each. References are
/// borrowed: the conversion holds them.
class ObjectPath {
public:
    enum class Step { kKey, kIndex, kAttribute };
    struct Level {
        PyObject* container;
        Step step;
        PyObject* key;  ///< A str for a key or an attribute; null: not on the way yet.
        Py_ssize_t index;
    };

    std::size_t depth() const { return levels_.size(); }
    Level& top() { return levels_.back(); }
    void enter(PyObject* container, Step step) { levels_.push_back({container, step, nullptr, 0}); }
    void leave() { levels_.pop_back(); }

    /// `name['tools'][3].result`
    std::string text(std::string_view name) const { return text(name, levels_.size()); }

    /// If a container contains itself: the path of the inner occurrence and of the outer one.
    struct Cycle {
        std::string inner;
        std::string outer;
    };
    std::optional<Cycle> find_cycle(std::string_view name) const;

private:
    std::string text(std::string_view name, std::size_t levels) const;

    std::vector<Level> levels_;
};

}  // namespace cairn::python
