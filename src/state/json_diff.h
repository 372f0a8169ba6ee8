#pragma once

// The differences of two states, found in their normal texts. Tokens are compared as written, so a number that no JSON
// library can hold, a lone surrogate or `1` against `1.0` is never taken for equal.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace cairn {

struct JsonChange {
    enum class Kind : std::uint8_t { kAdd, kRemove, kReplace };

    Kind kind = Kind::kReplace;
    std::string_view path;    ///< JSON Pointer (RFC 6901), escaped as it stands between the quotes of a JSON string.
    std::string_view before;  ///< Normal text inside the first state; empty if added.
    std::string_view after;   ///< Normal text inside the second state; empty if removed.
    bool keys_only = false;   ///< The object was replaced only because the order or the spelling of its keys changed.
};

/// Receives the changes, one by one. A change's path is valid only during its call, since all paths together could be
/// much longer than both texts.
using OnJsonChange = std::function<void(const JsonChange&)>;

/// Finds the changes that lead from `before` to `after`, both normal text, in an order in which they can be applied.
/// There are none if and only if the texts are the same. The order of an object's keys is a change only if it is the
/// object's only one. In arrays, equal elements at both ends are kept, and the rest is compared position by position.
/// Linear in the texts (and in the reported paths), at any depth and whatever the keys. Safe with any text.
void diff_json(std::string_view before, std::string_view after, const OnJsonChange& on_change);

/// The change as an operation of a JSON Patch (RFC 6902).
std::string to_json_operation(const JsonChange& change);

}  // namespace cairn
