#pragma once

#include "state/token_tree.h"

#include <cstdint>
#include <vector>

namespace cairn {

/// A hash of each value in a tree: if two hashes differ, the values differ. So an algorithm that goes down two texts
/// side by side compares bytes only where they are (nearly always) equal, and never once per level. Collisions are hard
/// to construct, since the hash is keyed; one would cost a comparison. Linear in the text; 4 bytes per token.
class ValueHashes {
public:
    enum class KeyOrder : std::uint8_t {
        kMatters,  ///< Different hashes rule out that the texts are the same.
        kIgnored   ///< Different hashes rule out `json_equal`.
    };

    /// The tree must have been built. May throw std::bad_alloc.
    ValueHashes(const TokenTree& tree, KeyOrder key_order);

    /// The hash of the value that starts at `token`.
    std::uint32_t of(std::uint32_t token) const { return hashes_[token]; }

private:
    std::vector<std::uint32_t> hashes_;
};

}  // namespace cairn
