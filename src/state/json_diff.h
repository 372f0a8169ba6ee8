#pragma once

// The differences of two states, found in their normal texts: tokens are compared as they are written, so a number
// that no JSON library can hold, a lone surrogate or `1` against `1.0` is never taken for equal.

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
    bool keys_only = false;   ///< An object replaced because only the order or the spelling of its keys changed.
};

/// Is told of the changes, one by one: their paths are only there meanwhile, since all of them could be much longer
/// than both texts.
using OnJsonChange = std::function<void(const JsonChange&)>;

/// The changes that lead from `before` to `after`, both normal text, in an order in which they can be applied. None if
/// and only if the texts are the same. The order of an object's keys is a change only if it is the only one there.
/// Of arrays, equal elements at both ends are kept and the rest is compared place by place. Linear in the texts (and in
/// the paths that are told), at any depth and whatever the keys. Safe with any text.
void diff_json(std::string_view before, std::string_view after, const OnJsonChange& on_change);

/// The change as an operation of a JSON Patch (RFC 6902).
std::string to_json_operation(const JsonChange& change);

}  // namespace cairn
