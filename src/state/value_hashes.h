#pragma once

#include "state/token_tree.h"

#include <cstdint>
#include <vector>

namespace cairn {

/// A hash of each value in a tree: if two are not the same, the values are not. So an algorithm that goes down two
/// texts side by side compares bytes only where they are (nearly always) equal, and never once a level. The keyed hash
/// is hard to collide with; a collision would cost a comparison. Linear in the text; 4 bytes a token.
class ValueHashes {
public:
    enum class KeyOrder : std::uint8_t {
        kMatters,  ///< Rules out that texts are the same.
        kIgnored   ///< Rules out `json_equal`.
    };

    /// Of a tree that was built. May throw std::bad_alloc.
    ValueHashes(const TokenTree& tree, KeyOrder key_order);

    /// Of the value that starts at `token`.
    std::uint32_t of(std::uint32_t token) const { return hashes_[token]; }

private:
    std::vector<std::uint32_t> hashes_;
};

}  // namespace cairn
