#pragma once

// The containers that a conversion has entered and not left, from the outermost to the current one.

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::python {

/// The references that an open container holds; most hold none.
struct HeldReferences {
    HeldReferences() = default;
    HeldReferences(const HeldReferences&) = delete;
    HeldReferences& operator=(const HeldReferences&) = delete;
    ~HeldReferences();

    void add(PyObject* object);

    std::vector<PyObject*> objects;
    std::vector<pybind11::object> stand_ins;  ///< Objects that are read instead of the container itself.
    pybind11::object key_texts;               ///< A set of str; made when a key is found that is not a plain str.
    std::vector<std::size_t> item_begins;     ///< For a set: the positions in the text at which its items begin.
};

/// A container under way. Its members are read from the dict, or from an array of objects.
class OpenContainer {
public:
    enum class Kind : std::uint8_t {
        kDict,     ///< Reads `dict_`.
        kMembers,  ///< Reads `items_`: key and value in turn.
        kItems     ///< Reads `items_`.
    };
    /// The form of a path's step into the container.
    enum class Step : std::uint8_t { kKey, kAttribute, kIndex, kElementOfSet };

    static OpenContainer of_dict(PyObject* dict);
    static OpenContainer of_list(PyObject* list_or_tuple);
    /// `tuple` holds keys and values in turn, or the items. The container keeps it.
    static OpenContainer of_tuple(PyObject* source, pybind11::object tuple, Step step);

    /// Moves on to the next member. Returns false if there is none.
    bool advance() {
        if (kind_ == Kind::kDict) {
            ++at_;
            return PyDict_Next(dict_, &position_, &key_, &value_) != 0;
        }
        return advance_in_items();
    }

    bool is_object() const { return kind_ != Kind::kItems; }
    PyObject* key() const { return key_; }
    PyObject* value() const { return value_; }
    bool checks_keys() const { return held_ && held_->key_texts; }
    bool is_set() const { return step_ == Step::kElementOfSet; }
    HeldReferences& held();
    std::unique_ptr<HeldReferences> release() { return std::move(held_); }

    /// Returns the keys of the members before this one. Only for a container that reads from an array.
    std::vector<PyObject*> keys_before() const;

    /// Copies the members, holds references to them, and reads on from the copy. A change of the container then has no
    /// effect.
    void pin();

    /// From now on the container is read in the place of `source`. It holds `stand_in`.
    void stand_for(PyObject* source, pybind11::object stand_in);

    PyObject* source() const { return source_; }
    std::string step_text() const;

private:
    bool advance_in_items();
    void read_from(PyObject* const* items, Py_ssize_t size);

    PyObject* source_ = nullptr;
    PyObject* dict_ = nullptr;
    Py_ssize_t position_ = 0;
    PyObject* const* items_ = nullptr;
    Py_ssize_t size_ = 0;
    Py_ssize_t at_ = -1;  // the number of the current member
    PyObject* key_ = nullptr;
    PyObject* value_ = nullptr;
    Kind kind_ = Kind::kDict;
    Step step_ = Step::kKey;
    bool reads_what_it_holds_ = false;
    std::unique_ptr<HeldReferences> held_;
};

/// References are borrowed as long as no Python code can run: nothing can change then. Before Python code may run, all
/// open containers are pinned.
class OpenContainers {
public:
    bool empty() const { return stack_.empty(); }
    std::size_t depth() const { return stack_.size(); }
    OpenContainer& top() { return stack_.back(); }
    void open(OpenContainer&& container) { stack_.push_back(std::move(container)); }
    void close();

    void pin_all();

    /// Returns a path like `name['tools'][3].result`. The middle of a long path is left out.
    std::string path(std::string_view name) const { return path(name, stack_.size()); }
    /// Returns the path to the innermost container, without the step into it.
    std::string path_of_top(std::string_view name) const { return path(name, stack_.size() - 1); }

    /// If a container contains itself: the path of the inner occurrence and of the outer one.
    struct Cycle {
        std::string inner;
        std::string outer;
    };
    std::optional<Cycle> find_cycle(std::string_view name) const;

private:
    std::string path(std::string_view name, std::size_t steps) const;

    std::vector<OpenContainer> stack_;
    std::size_t pinned_ = 0;  // the number of pinned containers, counted from the outermost
};

}  // namespace cairn::python
