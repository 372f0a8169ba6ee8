#pragma once

// The containers that a conversion is in, from the outermost one to where it is.

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::python {

/// What an open container holds on to; most hold nothing.
struct HeldReferences {
    HeldReferences() = default;
    HeldReferences(const HeldReferences&) = delete;
    HeldReferences& operator=(const HeldReferences&) = delete;
    ~HeldReferences();

    void add(PyObject* object);

    std::vector<PyObject*> objects;
    std::vector<pybind11::object> stand_ins;  ///< What is read in the place of the container itself.
    pybind11::object key_texts;               ///< A set of str, once a key was met that is no plain str.
    std::vector<std::size_t> item_begins;     ///< Of a set: where in the text its items begin.
};

/// A container under way. Its members are read from the dict, or from an array of objects.
class OpenContainer {
public:
    enum class Kind : std::uint8_t {
        kDict,     ///< `dict`.
        kMembers,  ///< `items`: a key and a value in turn.
        kItems     ///< `items`.
    };
    /// How a path shows the way into it.
    enum class Step : std::uint8_t { kKey, kAttribute, kIndex, kElementOfSet };

    static OpenContainer of_dict(PyObject* dict);
    static OpenContainer of_list(PyObject* list_or_tuple);
    /// `tuple` holds keys and values in turn, or the items; the container keeps it.
    static OpenContainer of_tuple(PyObject* source, pybind11::object tuple, Step step);

    /// Moves on to the next member. False: there is none.
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

    /// The keys of the members before this one. Only if it reads from an array.
    std::vector<PyObject*> keys_before() const;

    /// Reads on from a copy of its members, which it holds: whatever becomes of the container, they stay.
    void pin();

    /// Stands for `source` from now on.
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
    Py_ssize_t at_ = -1;  // the number of the member under way
    PyObject* key_ = nullptr;
    PyObject* value_ = nullptr;
    Kind kind_ = Kind::kDict;
    Step step_ = Step::kKey;
    bool reads_what_it_holds_ = false;
    std::unique_ptr<HeldReferences> held_;
};

/// References are borrowed as long as no Python code can run: nothing can change then. Before it may run, everything
/// that is open is pinned.
class OpenContainers {
public:
    bool empty() const { return stack_.empty(); }
    std::size_t depth() const { return stack_.size(); }
    OpenContainer& top() { return stack_.back(); }
    void open(OpenContainer&& container) { stack_.push_back(std::move(container)); }
    void close();

    void pin_all();

    /// `name['tools'][3].result`; of a long path the middle is left out.
    std::string path(std::string_view name) const { return path(name, stack_.size()); }
    /// Without the way into the innermost one.
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
    std::size_t pinned_ = 0;  // so many of the outermost ones
};

}  // namespace cairn::python
