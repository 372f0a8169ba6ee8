#pragma once

// JSON text that grows: strings with their escapes, numbers, and bytes as they are.

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cairn::python {

/// Appends; what is written is normal text. The GIL must be held.
class TextWriter {
public:
    explicit TextWriter(std::size_t size_hint) { text_.resize(size_hint); }

    std::size_t size() const { return size_; }
    std::string_view text() const { return {text_.data(), size_}; }
    void append(char byte) { *room_for(1) = byte, ++size_; }
    void append(std::string_view bytes);
    void take_back(std::size_t size) { size_ = size; }

    /// `string`, a str, in quotes.
    void append_string(PyObject* string);
    void append_integer(long long value);
    /// `value` is finite.
    void append_float(double value);

    /// What was written. A text that is much shorter than its buffer is moved into one of its own.
    std::string release();

private:
    char* room_for(std::size_t bytes) {
        if (text_.size() - size_ < bytes) grow(bytes);
        return text_.data() + size_;
    }
    void grow(std::size_t bytes);
    template <class Unit>
    void append_units(const Unit* units, std::size_t count);

    std::string text_;  // its size is what there is room for
    std::size_t size_ = 0;
};

}  // namespace cairn::python
