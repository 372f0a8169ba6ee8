#pragma once

// JSON text that grows: strings with their escapes, numbers, and bytes as they are.

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace cairn::python {

/// Appends values, each with the byte that stands behind it; what is written is normal text. The GIL must be held.
class TextWriter {
public:
    /// Thrown by every append: the text would have more than `bytes_max` bytes. It is found when memory for more would
    /// be needed, so the text may have become somewhat longer until then: `release()` looks again.
    struct TooLong {};

    TextWriter(std::size_t size_hint, std::size_t bytes_max);

    std::size_t size() const { return static_cast<std::size_t>(end_ - text_.data()); }
    std::string_view text() const { return {text_.data(), size()}; }
    /// What begins there may be put into another order, but not changed in size.
    char* bytes_from(std::size_t begin) { return text_.data() + begin; }

    void append(char byte) { *room_for(1) = byte, ++end_; }
    void append(std::string_view bytes) {
        std::memcpy(room_for(bytes.size()), bytes.data(), bytes.size());
        end_ += bytes.size();
    }
    /// `string`, a str, in quotes.
    void append_string(PyObject* string, char behind);
    void append_integer(long long value, char behind);
    /// `value` is finite.
    void append_float(double value, char behind);
    /// A bracket in the place of the comma behind the last member, if there is one; and a comma.
    void close(char bracket);

    /// What was written, without its last byte. A text that is much shorter than its buffer is moved into one of its
    /// own.
    std::string release();

private:
    /// `bytes` is at most `kSlack` more than what is then written.
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

    std::string text_;  // its size is what there is room for
    char* end_ = nullptr;
    char* limit_ = nullptr;
    std::size_t bytes_max_;
};

}  // namespace cairn::python
