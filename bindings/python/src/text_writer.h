#pragma once

// Writes JSON text: strings with their escapes, numbers, and bytes as they are.

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace cairn::python {

/// Appends values, each with the byte that follows it. The result is normal text. The GIL must be held.
class TextWriter {
public:
    /// Every append may throw it: the text would have more than `bytes_max` bytes. The limit is checked when more
    /// memory is needed, so the text may be somewhat longer by then: `release()` checks again.
    struct TooLong {};

    TextWriter(std::size_t size_hint, std::size_t bytes_max);

    std::size_t size() const { return static_cast<std::size_t>(end_ - text_.data()); }
    std::string_view text() const { return {text_.data(), size()}; }
    /// The bytes from `begin` on. They may be reordered, but their number must not change.
    char* bytes_from(std::size_t begin) { return text_.data() + begin; }

    void append(char byte) { *room_for(1) = byte, ++end_; }
    void append(std::string_view bytes) {
        std::memcpy(room_for(bytes.size()), bytes.data(), bytes.size());
        end_ += bytes.size();
    }
    /// Appends `string`, a str, in quotes.
    void append_string(PyObject* string, char behind);
    void append_integer(long long value, char behind);
    /// `value` must be finite.
    void append_float(double value, char behind);
    /// Appends a bracket and a comma. The bracket replaces the comma behind the last member, if there is one.
    void close(char bracket);

    /// Returns the text without its last byte. A text that is much shorter than its buffer is copied into a smaller
    /// one.
    std::string release();

private:
    /// `bytes` may exceed the number of bytes that are then written by at most `kSlack`.
    char* room_for(std::size_t bytes) {
        if (static_cast<std::size_t>(limit_ - end_) < bytes) [[unlikely]]
            grow(bytes);
        return end_;
    }
    void grow(std::size_t bytes);
    void allocate(std::size_t capacity);
    template <class Unit>
    void append_units(const Unit* units, std::size_t count, char behind);

    static constexpr std::size_t kSlack = 512;

    std::string text_;  // its size is the capacity
    char* end_ = nullptr;
    char* limit_ = nullptr;
    std::size_t bytes_max_;
};

}  // namespace cairn::python
