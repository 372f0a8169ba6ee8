#include "text_writer.h"

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

namespace cairn::python {
namespace {

constexpr std::size_t kUnitsPerStep = 4096;
constexpr std::size_t kUnitBytesMax = 6;  // \u001f
constexpr std::array<char, 16> kHexDigits{'0', '1', '2', '3', '4', '5', '6', '7',
                                          '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};

// The letter of a two-byte escape, '.' for what stands as it is, 'u' for what is written as \u00xx.
constexpr std::array<char, 128> kEscapes = [] {
    std::array<char, 128> escapes{};
    escapes.fill('.');
    std::fill_n(escapes.begin(), 0x20, 'u');
    escapes['"'] = '"';
    escapes['\\'] = '\\';
    escapes['\b'] = 'b';
    escapes['\f'] = 'f';
    escapes['\n'] = 'n';
    escapes['\r'] = 'r';
    escapes['\t'] = 't';
    return escapes;
}();

char byte_of(std::uint32_t bits) {
    return static_cast<char>(static_cast<unsigned char>(bits));
}

char* write_hex_escape(char* out, std::uint32_t unit) {
    *out++ = '\\';
    *out++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4) *out++ = kHexDigits[(unit >> static_cast<unsigned>(shift)) & 15U];
    return out;
}

char* write_ascii(char* out, std::uint32_t unit) {
    const char escape = kEscapes[unit];
    if (escape == '.') {
        *out++ = byte_of(unit);
    } else if (escape == 'u') {
        out = write_hex_escape(out, unit);
    } else {
        *out++ = '\\';
        *out++ = escape;
    }
    return out;
}

// Lone surrogates have no UTF-8: they are written as escapes.
char* write_beyond_ascii(char* out, std::uint32_t unit) {
    if (unit < 0x800) {
        *out++ = byte_of(0xC0U | unit >> 6U);
    } else if (unit >= 0xD800 && unit < 0xE000) {
        return write_hex_escape(out, unit);
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

template <class Unit>
char* write_unit(char* out, Unit unit) {
    return unit < 0x80 ? write_ascii(out, unit) : write_beyond_ascii(out, unit);
}

__m128i load(const void* from) {
    return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

// Sixteen units as bytes; those beyond ASCII become bytes with the highest bit set.
__m128i narrow(const Py_UCS1* units) {
    return load(units);
}
__m128i narrow(const Py_UCS2* units) {
    // Signed saturation: what is larger than 127 becomes 127, or negative; the second compare finds the former.
    const __m128i low = load(units);
    const __m128i high = load(units + 8);
    const __m128i limit = _mm_set1_epi16(0x7F);
    const __m128i beyond = _mm_packs_epi16(_mm_cmpgt_epi16(low, limit), _mm_cmpgt_epi16(high, limit));
    return _mm_or_si128(_mm_packs_epi16(low, high), beyond);
}
__m128i narrow(const Py_UCS4* units) {
    const __m128i low = _mm_packs_epi32(load(units), load(units + 4));
    const __m128i high = _mm_packs_epi32(load(units + 8), load(units + 12));
    const __m128i limit = _mm_set1_epi16(0x7F);
    const __m128i beyond = _mm_packs_epi16(_mm_cmpgt_epi16(low, limit), _mm_cmpgt_epi16(high, limit));
    return _mm_or_si128(_mm_packs_epi16(low, high), beyond);
}

// A bit for each byte that does not stand for itself: quote, backslash, control, beyond ASCII. Bytes are compared as
// signed numbers, so those beyond ASCII are below the space too.
std::uint32_t special(__m128i bytes) {
    const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    const __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' '));
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), low)));
}

// Sixteen units, or what there is and spaces.
template <class Unit>
__m128i narrow(const Unit* units, std::ptrdiff_t count) {
    if (count >= 16) return narrow(units);
    std::array<Unit, 16> padded;
    padded.fill(' ');
    std::memcpy(padded.data(), units, static_cast<std::size_t>(count) * sizeof(Unit));
    return narrow(padded.data());
}

// There is room for `kUnitBytesMax` bytes a unit and 16 more.
template <class Unit>
char* write_units(char* out, const Unit* units, const Unit* end) {
    while (units != end) {
        const std::ptrdiff_t count = std::min<std::ptrdiff_t>(end - units, 16);
        const __m128i bytes = narrow(units, count);
        const std::uint32_t specials = special(bytes);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
        const std::ptrdiff_t plain = specials == 0 ? count : std::countr_zero(specials);
        out += plain;
        units += plain;
        if (specials == 0) continue;
        do {
            out = write_unit(out, *units++);
        } while (units != end && *units >= 0x80);
    }
    return out;
}

}  // namespace

void TextWriter::append(std::string_view bytes) {
    std::memcpy(room_for(bytes.size()), bytes.data(), bytes.size());
    size_ += bytes.size();
}

void TextWriter::append_string(PyObject* string) {
    append('"');
    const auto count = static_cast<std::size_t>(PyUnicode_GET_LENGTH(string));
    switch (PyUnicode_KIND(string)) {
        case PyUnicode_1BYTE_KIND:
            append_units(PyUnicode_1BYTE_DATA(string), count);
            break;
        case PyUnicode_2BYTE_KIND:
            append_units(PyUnicode_2BYTE_DATA(string), count);
            break;
        default:
            append_units(PyUnicode_4BYTE_DATA(string), count);
    }
    append('"');
}

template <class Unit>
void TextWriter::append_units(const Unit* units, std::size_t count) {
    for (const Unit* const end = units + count; units != end;) {
        const auto step = std::min<std::size_t>(kUnitsPerStep, static_cast<std::size_t>(end - units));
        char* const out = room_for(step * kUnitBytesMax + 16);
        size_ += static_cast<std::size_t>(write_units(out, units, units + step) - out);
        units += step;
    }
}

void TextWriter::append_integer(long long value) {
    char* const out = room_for(24);
    size_ += static_cast<std::size_t>(std::to_chars(out, out + 24, value).ptr - out);
}

// As Python's repr writes it: the shortest digits that are this number, and where they stand.
void TextWriter::append_float(double value) {
    std::array<char, 32> digits;
    char* const end = std::to_chars(digits.begin(), digits.end(), std::abs(value), std::chars_format::scientific).ptr;
    char* const mark = std::find(digits.begin(), end, 'e');
    int exponent = 0;
    std::from_chars(mark[1] == '+' ? mark + 2 : mark + 1, end, exponent);
    if (std::signbit(value)) append('-');
    if (exponent < -4 || exponent >= 16) return append({digits.begin(), end});
    const std::string_view first(digits.begin(), 1);
    const std::string_view others = mark - digits.begin() > 2 ? std::string_view(digits.begin() + 2, mark) : "";
    if (exponent < 0) {
        append(std::string_view("0.000").substr(0, static_cast<std::size_t>(1 - exponent)));
        append(first);
        return append(others);
    }
    const std::size_t before = std::min(static_cast<std::size_t>(exponent), others.size());
    append(first);
    append(others.substr(0, before));
    for (std::size_t i = before; i < static_cast<std::size_t>(exponent); ++i) append('0');
    append('.');
    append(before == others.size() ? "0" : others.substr(before));
}

void TextWriter::grow(std::size_t bytes) {
    text_.resize(std::max(size_ + bytes, text_.size() * 2));
}

std::string TextWriter::release() {
    text_.resize(size_);
    if (text_.capacity() - size_ > size_ / 4 + 64) text_.shrink_to_fit();
    return std::move(text_);
}

}  // namespace cairn::python
