#include "state_reader.h"

#include "errors.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace cairn::python {

namespace py = pybind11;

namespace {

// Keys recur: this many recent ones are kept, and reused for equal texts.
constexpr std::size_t kKeys = 256;
constexpr std::size_t kKeyBytesMax = 40;

py::object owned(PyObject* object) {
    if (object == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(object);
}

// Texts from a store were checked when they were read, so this should never happen. It keeps the reader in bounds for
// any text.
[[noreturn]] void refuse() {
    raise({.code = ErrorCode::kCorrupt, .message = "a text that should be a state's is not JSON"});
}

/// The bytes between two quotes.
struct StringToken {
    std::string_view bytes;
    bool has_escapes = false;
    bool is_ascii = true;
};

#if defined(__SSE2__)
std::uint32_t bits_of(__m128i bytes) {
    return static_cast<std::uint32_t>(_mm_movemask_epi8(bytes));
}
#endif

// Scans from behind the opening quote to the closing one, which must stand before `end`.
StringToken scan_string(const char* begin, const char* end) {
    StringToken token;
    const char* at = begin;
#if defined(__SSE2__)
    while (end - at >= 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const std::uint32_t quotes = bits_of(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
        const std::uint32_t backslashes = bits_of(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
        const std::uint32_t stops = quotes | backslashes;
        const int plain = stops == 0 ? 16 : std::countr_zero(stops);
        if ((bits_of(bytes) & ((1U << static_cast<unsigned>(plain)) - 1U)) != 0) token.is_ascii = false;
        at += plain;
        if (stops == 0) continue;
        if (*at == '"') return token.bytes = {begin, at}, token;
        token.has_escapes = true;
        at += 2;
    }
#endif
    for (; at < end && *at != '"'; ++at) {
        if (*at == '\\') {
            token.has_escapes = true;
            if (++at == end) break;
        }
        if (static_cast<unsigned char>(*at) >= 0x80) token.is_ascii = false;
    }
    if (at >= end) refuse();
    token.bytes = {begin, at};
    return token;
}

std::uint32_t hex_of(const char* digits) {
    std::uint32_t unit = 0;
    std::from_chars(digits, digits + 4, unit, 16);
    return unit;
}

void append_utf8(std::string& text, std::uint32_t point) {
    const auto byte = [&](std::uint32_t bits) { text.push_back(static_cast<char>(static_cast<unsigned char>(bits))); };
    if (point < 0x80) return byte(point);
    if (point < 0x800) {
        byte(0xC0U | point >> 6U);
    } else if (point < 0x1'0000) {
        byte(0xE0U | point >> 12U);
        byte(0x80U | (point >> 6U & 0x3FU));
    } else {
        byte(0xF0U | point >> 18U);
        byte(0x80U | (point >> 12U & 0x3FU));
        byte(0x80U | (point >> 6U & 0x3FU));
    }
    byte(0x80U | (point & 0x3FU));
}

char unescaped(char letter) {
    switch (letter) {
        case 'b':
            return '\b';
        case 'f':
            return '\f';
        case 'n':
            return '\n';
        case 'r':
            return '\r';
        case 't':
            return '\t';
        default:
            return letter;
    }
}

/// Reads a normal text. Any other text is refused or misread, but never read out of bounds. The reader keeps containers
/// on a stack of its own, since texts may be nested deeper than calls can be.
class StateReader {
public:
    explicit StateReader(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

    py::object read() {
        if (next() != '{' && next() != '[') refuse();
        while (true) {
            if (!open_container()) attach(read_scalar());
            if (close_containers()) return std::move(result_);
        }
    }

private:
    struct Level {
        py::object container;
        py::object key;  // of the current member; none in a list
    };

    // Returns NUL at the end: it never occurs in JSON.
    char next() const { return at_ < end_ ? *at_ : '\0'; }

    void skip(std::string_view expected) {
        if (!std::string_view(at_, end_).starts_with(expected)) refuse();
        at_ += expected.size();
    }

    // Opens containers up to the first value in them. Returns false if a scalar is next.
    bool open_container() {
        while (next() == '{' || next() == '[') {
            const bool is_dict = *at_++ == '{';
            levels_.push_back({owned(is_dict ? PyDict_New() : PyList_New(0)), {}});
            if (next() == '}' || next() == ']') return true;
            if (is_dict) levels_.back().key = read_key();
        }
        return false;
    }

    // Comes after a value, or in an empty container. Closes the containers that end here. Returns true at the end of
    // the text.
    bool close_containers() {
        while (next() == '}' || next() == ']') {
            ++at_;
            const py::object container = std::move(levels_.back().container);
            levels_.pop_back();
            if (levels_.empty() && at_ != end_) refuse();
            if (levels_.empty()) return result_ = container, true;
            attach(container);
        }
        skip(",");
        if (PyDict_CheckExact(levels_.back().container.ptr()) != 0) levels_.back().key = read_key();
        return false;
    }

    void attach(const py::object& value) {
        const Level& level = levels_.back();
        const int failed = level.key ? PyDict_SetItem(level.container.ptr(), level.key.ptr(), value.ptr())
                                     : PyList_Append(level.container.ptr(), value.ptr());
        if (failed != 0) throw py::error_already_set();
    }

    py::object read_key() {
        skip("\"");
        const StringToken token = scan_string(at_, end_);
        at_ = token.bytes.end() + 1;
        skip(":");
        if (token.has_escapes || token.bytes.size() > kKeyBytesMax) return make_string(token);
        auto& [bytes, key] = keys_[slot_of(token.bytes)];
        if (!key || bytes != token.bytes) {
            key = make_string(token);
            bytes = token.bytes;
        }
        return key;
    }

    static std::size_t slot_of(std::string_view bytes) {
        if (bytes.empty()) return 0;
        const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
        return (bytes.size() * 31 + byte(0) * 7 + byte(bytes.size() / 2) * 3 + byte(bytes.size() - 1)) % kKeys;
    }

    py::object read_scalar() {
        switch (next()) {
            case '"': {
                const StringToken token = scan_string(++at_, end_);
                at_ = token.bytes.end() + 1;
                return make_string(token);
            }
            case 'n':
                skip("null");
                return py::none();
            case 't':
                skip("true");
                return py::bool_(true);
            case 'f':
                skip("false");
                return py::bool_(false);
            default:
                return read_number();
        }
    }

    py::object make_string(const StringToken& token) {
        const std::string_view bytes = token.has_escapes ? unescape(token.bytes) : token.bytes;
        const bool is_ascii = token.has_escapes ? unescaped_is_ascii_ && token.is_ascii : token.is_ascii;
        const auto size = static_cast<Py_ssize_t>(bytes.size());
        if (!is_ascii) {
            PyObject* const decoded = PyUnicode_DecodeUTF8(bytes.begin(), size, "surrogatepass");
            if (decoded != nullptr || PyErr_ExceptionMatches(PyExc_UnicodeError) == 0) return owned(decoded);
            PyErr_Clear();  // its message would hold content of the state
            refuse();
        }
        py::object string = owned(PyUnicode_New(size, 0x7F));
        if (size > 0) std::memcpy(PyUnicode_1BYTE_DATA(string.ptr()), bytes.data(), bytes.size());
        return string;
    }

    // Returns UTF-8, with lone surrogates encoded in three bytes like other characters of that range.
    std::string_view unescape(std::string_view bytes) {
        unescaped_.clear();
        unescaped_is_ascii_ = true;
        while (!bytes.empty()) {
            const void* const found = std::memchr(bytes.data(), '\\', bytes.size());
            const char* const backslash = found == nullptr ? bytes.end() : static_cast<const char*>(found);
            unescaped_.append(bytes.begin(), backslash);
            bytes.remove_prefix(static_cast<std::size_t>(backslash - bytes.data()));
            if (!bytes.empty()) bytes.remove_prefix(unescape_one(bytes));
        }
        return unescaped_;
    }

    // Appends the character of the escape that `bytes` begins with. Returns the escape's length.
    std::size_t unescape_one(std::string_view bytes) {
        if (bytes.size() < 2) refuse();
        if (bytes[1] != 'u') {
            if (static_cast<unsigned char>(bytes[1]) >= 0x80) refuse();
            unescaped_.push_back(unescaped(bytes[1]));
            return 2;
        }
        if (bytes.size() < 6) refuse();
        std::uint32_t point = hex_of(bytes.data() + 2);
        std::size_t length = 6;
        if (point >= 0xD800 && point < 0xDC00 && bytes.size() >= 12 && bytes.substr(6, 2) == "\\u") {
            const std::uint32_t low = hex_of(bytes.data() + 8);
            if (low >= 0xDC00 && low < 0xE000) {
                point = 0x1'0000 + ((point - 0xD800) << 10U) + (low - 0xDC00);
                length = 12;
            }
        }
        if (point >= 0x80) unescaped_is_ascii_ = false;
        append_utf8(unescaped_, point);
        return length;
    }

    py::object read_number() {
        const char* const begin = at_;
        bool is_integer = true;
        for (; at_ != end_ && *at_ != ',' && *at_ != '}' && *at_ != ']'; ++at_) {
            if (*at_ == '.' || *at_ == 'e' || *at_ == 'E') is_integer = false;
        }
        if (begin == at_ || (*begin != '-' && (*begin < '0' || *begin > '9'))) refuse();
        return is_integer ? make_integer({begin, at_}) : make_float({begin, at_});
    }

    static py::object make_integer(std::string_view digits) {
        if (digits.size() <= 18) {
            long long value = 0;
            std::from_chars(digits.begin(), digits.end(), value);
            return owned(PyLong_FromLongLong(value));
        }
        PyObject* const integer = PyLong_FromString(std::string(digits).c_str(), nullptr, 10);
        if (integer != nullptr || PyErr_ExceptionMatches(PyExc_ValueError) == 0) return owned(integer);
        PyErr_Clear();
        raise({.code = ErrorCode::kLimitExceeded,
               .message = fmt::format("the state has an integer of {} digits, more than Python reads "
                                      "(sys.set_int_max_str_digits)",
                                      digits.size())});
    }

    static py::object make_float(std::string_view digits) {
        double value = 0;
        if (std::from_chars(digits.begin(), digits.end(), value).ec == std::errc()) {
            return owned(PyFloat_FromDouble(value));
        }
        // Too large or too small for a double: infinity or zero, like json.loads.
        const double rounded = PyOS_string_to_double(std::string(digits).c_str(), nullptr, nullptr);
        if (rounded == -1.0 && PyErr_Occurred() != nullptr) {
            PyErr_Clear();
            refuse();
        }
        return owned(PyFloat_FromDouble(rounded));
    }

    const char* at_;
    const char* const end_;
    std::vector<Level> levels_;
    py::object result_;
    std::string unescaped_;
    bool unescaped_is_ascii_ = true;
    std::array<std::pair<std::string_view, py::object>, kKeys> keys_;
};

}  // namespace

py::object object_of(std::string_view text) {
    return StateReader(text).read();
}

py::tuple parts_of(const State& state) {
    const std::string_view text = state.text();
    if (state.is_opaque()) {
        const std::string_view type = state.type_tag();
        return py::make_tuple(py::bytes(text.data(), text.size()), "", py::str(type.data(), type.size()));
    }
    return py::make_tuple(object_of(text), py::str(text.data(), text.size()), py::none());
}

}  // namespace cairn::python
