#include "text_writer.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

namespace cairn::python {
namespace {

constexpr unsigned kBlockUnits = 64;
constexpr std::string_view kHexDigits = "0123456789abcdef";

/// The written form of an ASCII character. All eight bytes are stored at once; those beyond `size` are overwritten.
struct Written {
    std::array<char, 7> bytes{};
    std::uint8_t size = 0;
};

constexpr Written written(std::uint8_t unit) {
    constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
    constexpr std::string_view kLetters = "\"\\bfnrt";
    const auto escape = kEscaped.find(static_cast<char>(unit));
    if (escape != std::string_view::npos) return {{'\\', kLetters[escape]}, 2};
    if (unit < 0x20) return {{'\\', 'u', '0', '0', kHexDigits[unit >> 4U], kHexDigits[unit & 15U]}, 6};
    return {{static_cast<char>(unit)}, 1};
}

constexpr std::array<Written, 128> kWritten = [] {
    std::array<Written, 128> all{};
    for (std::size_t unit = 0; unit < all.size(); ++unit) all[unit] = written(static_cast<std::uint8_t>(unit));
    return all;
}();

char byte_of(std::uint32_t bits) {
    return static_cast<char>(static_cast<unsigned char>(bits));
}

char* write_surrogate(char* out, std::uint32_t unit) {
    *out++ = '\\';
    *out++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4) *out++ = kHexDigits[(unit >> static_cast<unsigned>(shift)) & 15U];
    return out;
}

// Lone surrogates have no UTF-8 form: they are written as escapes.
char* write_beyond_ascii(char* out, std::uint32_t unit) {
    if (unit < 0x800) {
        *out++ = byte_of(0xC0U | unit >> 6U);
    } else if (unit >= 0xD800 && unit < 0xE000) {
        return write_surrogate(out, unit);
    } else if (unit < 0x1'0000) {
        *out++ = byte_of(0xE0U | unit >> 12U);
        *out++ = byte_of(0x80U | (unit >> 6U & 0x3FU));
    } else {
        *out++ = byte_of(0xF0U | unit >> 18U);
        *out++ = byte_of(0x80U | (unit >> 12U & 0x3FU));
        *out++ = byte_of(0x80U | (unit >> 6U & 0x3FU));
    }
    *out++ = byte_of(0x80U | (unit & 0x3FU));
    return out;
}

// Writes at most 6 bytes, but stores 8.
template <class Unit>
char* write_unit(char* out, Unit unit) {
    if (unit >= 0x80) return write_beyond_ascii(out, unit);
    std::memcpy(out, &kWritten[unit], sizeof(Written));
    return out + kWritten[unit].size;
}

#if defined(__SSE2__)

__m128i load(const void* from) {
    return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

// Narrows sixteen units to bytes. Saturation turns units beyond ASCII into bytes with the highest bit set, or into
// zero.
__m128i narrow(const Py_UCS1* units) {
    return load(units);
}
__m128i narrow(const Py_UCS2* units) {
    return _mm_packus_epi16(load(units), load(units + 8));
}
__m128i narrow(const Py_UCS4* units) {
    return _mm_packus_epi16(_mm_packs_epi32(load(units), load(units + 4)),
                            _mm_packs_epi32(load(units + 8), load(units + 12)));
}

// Sets bit i if byte i needs an escape or is not ASCII. Bytes are compared as signed numbers, so those beyond ASCII are
// below the space too.
std::uint64_t special_of(__m128i bytes) {
    const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), low)));
}

// Narrows a block's units to bytes. Sets bit i of the result if unit i needs an escape or is not ASCII.
template <class Unit>
std::uint64_t narrow_block(char* bytes, const Unit* units) {
    std::uint64_t special = 0;
    for (unsigned i = 0; i < kBlockUnits; i += 16) {
        const __m128i narrowed = narrow(units + i);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + i), narrowed);
        special |= special_of(narrowed) << i;
    }
    return special;
}

#else

template <class Unit>
std::uint64_t narrow_block(char* bytes, const Unit* units) {
    std::uint64_t special = 0;
    for (unsigned i = 0; i < kBlockUnits; ++i) {
        const bool is_plain = units[i] < 0x80 && kWritten[units[i] & 0x7FU].size == 1;
        bytes[i] = static_cast<char>(units[i]);
        special |= std::uint64_t{!is_plain} << i;
    }
    return special;
}

#endif

using BlockBytes = std::array<char, 2 * kBlockUnits>;  // Runs are copied 32 bytes at a time, possibly beyond the block.

// Copies a run within a block; writes up to 31 bytes more.
char* copy_run(char* out, const char* bytes, std::size_t size) {
    std::memcpy(out, bytes, 32);
    if (size > 32) std::memcpy(out + 32, bytes + 32, 32);
    return out + size;
}

// Writes the first `count` units of a block. All special units are found first, so that the place of the next run is
// known without reading the bytes again.
template <class Unit>
char* write_block(char* out, const Unit* units, std::size_t count) {
    BlockBytes bytes;
    std::uint64_t special = narrow_block(bytes.data(), units);
    if (std::popcount(special) > 32) {
        for (std::size_t i = 0; i < count; ++i) out = write_unit(out, units[i]);
        return out;
    }
    std::size_t from = 0;
    for (; special != 0; special &= special - 1) {
        const auto at = static_cast<std::size_t>(std::countr_zero(special));
        out = copy_run(out, bytes.data() + from, at - from);
        out = write_unit(out, units[at]);
        from = at + 1;
    }
    return copy_run(out, bytes.data() + from, count - from);
}

// Returns true if all eight bytes of a word can be written as they are.
bool is_plain(std::uint64_t word) {
    constexpr std::uint64_t kOnes = 0x0101'0101'0101'0101;
    constexpr std::uint64_t kHighest = kOnes * 0x80;
    const std::uint64_t quote = word ^ (kOnes * '"');
    const std::uint64_t backslash = word ^ (kOnes * '\\');
    const std::uint64_t special = (word - kOnes * ' ') | (quote - kOnes) | (backslash - kOnes) | word;
    return (special & kHighest) == 0;
}

// Writes fewer than 16 units: eight, then four, then one by one.
template <class Unit>
char* write_few(char* out, const Unit* units, const Unit* end) {
    if constexpr (sizeof(Unit) == 1) {
        for (const std::ptrdiff_t count : {8, 4}) {
            std::uint64_t word = 0x2020'2020'2020'2020;
            if (end - units < count) continue;
            std::memcpy(&word, units, static_cast<std::size_t>(count));
            if (!is_plain(word)) break;
            std::memcpy(out, &word, sizeof word);
            out += count;
            units += count;
        }
    }
    while (units != end) out = write_unit(out, *units++);
    return out;
}

// Writes the last units, fewer than a block.
template <class Unit>
char* write_rest(char* out, const Unit* units, const Unit* end) {
    if (end - units < 16) return write_few(out, units, end);
    std::array<Unit, kBlockUnits> block;
    block.fill(' ');
    std::copy(units, end, block.begin());
    return write_block(out, block.data(), static_cast<std::size_t>(end - units));
}

}  // namespace

TextWriter::TextWriter(std::size_t size_hint, std::size_t bytes_max) : bytes_max_(bytes_max) {
    allocate(std::min(size_hint, bytes_max) + kSlack);
    end_ = text_.data();
}

void TextWriter::append_string(PyObject* string, char behind) {
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(string) != 0) throw pybind11::error_already_set();
#endif
    const auto count = static_cast<std::size_t>(PyUnicode_GET_LENGTH(string));
    switch (PyUnicode_KIND(string)) {
        case PyUnicode_1BYTE_KIND:
            return append_units(PyUnicode_1BYTE_DATA(string), count, behind);
        case PyUnicode_2BYTE_KIND:
            return append_units(PyUnicode_2BYTE_DATA(string), count, behind);
        default:
            return append_units(PyUnicode_4BYTE_DATA(string), count, behind);
    }
}

// There is always room for the remaining units as plain text, and `kSlack` more: enough for any block.
template <class Unit>
void TextWriter::append_units(const Unit* units, std::size_t count, char behind) {
    const Unit* const end = units + count;
    *room_for(count + kSlack) = '"';
    ++end_;
    for (; end - units >= kBlockUnits; units += kBlockUnits) {
        end_ = write_block(room_for(static_cast<std::size_t>(end - units) + kSlack), units, kBlockUnits);
    }
    char* out = write_rest(room_for(static_cast<std::size_t>(end - units) + kSlack), units, end);
    *out++ = '"';
    *out++ = behind;
    end_ = out;
}

void TextWriter::append_integer(long long value, char behind) {
    char* const out = room_for(kSlack);
    end_ = std::to_chars(out, out + kSlack, value).ptr;
    *end_++ = behind;
}

// Writes it like Python's repr: the shortest digits that give this number, with an exponent if it is large or small.
void TextWriter::append_float(double value, char behind) {
    const double magnitude = std::abs(value);
    const bool is_fixed = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
    char* const out = room_for(kSlack);
    end_ = std::to_chars(out, out + kSlack, value, is_fixed ? std::chars_format::fixed : std::chars_format::scientific)
               .ptr;
    if (is_fixed && std::find(out, end_, '.') == end_) {
        *end_++ = '.';
        *end_++ = '0';
    }
    *end_++ = behind;
}

void TextWriter::close(char bracket) {
    char* const out = room_for(2);
    if (out[-1] == ',') --end_;
    *end_++ = bracket;
    *end_++ = ',';
}

void TextWriter::grow(std::size_t bytes) {
    const std::size_t used = size();
    if (used > bytes_max_ + 1 || bytes > bytes_max_ + 1 - used + kSlack) throw TooLong();
    allocate(std::max(used + bytes, std::min(text_.size() * 2, bytes_max_ + kSlack)));
    end_ = text_.data() + used;
}

// Does not fill the memory: it is written to at once.
void TextWriter::allocate(std::size_t capacity) {
    text_.resize_and_overwrite(capacity, [](char*, std::size_t size) { return size; });
    limit_ = text_.data() + text_.size();
}

std::string TextWriter::release() {
    const std::size_t used = size() - 1;
    if (used > bytes_max_) throw TooLong();
    text_.resize(used);
    if (text_.capacity() - used > used / 4 + kSlack) text_.shrink_to_fit();
    return std::move(text_);
}

}  // namespace cairn::python
