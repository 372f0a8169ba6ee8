#include "state/value_hashes.h"

#include "base/text_hash.h"

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace cairn {
namespace {

std::size_t hash_of(std::span<const std::uint32_t> parts) {
    return TextHash()({reinterpret_cast<const char*>(parts.data()), parts.size_bytes()});
}

/// The hash of a container, made from the hashes of its content.
class ContainerHash {
public:
    ContainerHash(const TokenTree& tree, const std::vector<std::uint32_t>& hashes) : tree_(tree), hashes_(hashes) {}

    std::size_t in_order(std::uint32_t container) {
        parts_.assign(1, static_cast<std::uint32_t>(tree_.first_byte(container)));
        const std::uint32_t end = tree_.after(container) - 1;
        // Keys and colons count as values of one token here; commas are left out.
        for (std::uint32_t token = container + 1; token < end; token = tree_.after(token)) {
            if (tree_.first_byte(token) != ',') parts_.push_back(hashes_[token]);
        }
        return hash_of(parts_);
    }

    std::size_t in_any_order(std::uint32_t object) {
        tree_.list_members(object, members_);
        std::size_t sum = members_.size();
        for (const TokenMember& member : members_) {
            sum += hash_of(std::array{hashes_[member.value - 2], hashes_[member.value]});
        }
        return sum;
    }

private:
    const TokenTree& tree_;
    const std::vector<std::uint32_t>& hashes_;
    std::vector<std::uint32_t> parts_;
    std::vector<TokenMember> members_;
};

}  // namespace

// From the last token to the first: a container's content comes after its bracket.
ValueHashes::ValueHashes(const TokenTree& tree, KeyOrder key_order) : hashes_(tree.size()) {
    ContainerHash container(tree, hashes_);
    for (std::uint32_t token = tree.size(); token-- > 0;) {
        const char first = tree.first_byte(token);
        const bool is_object = first == '{';
        std::size_t hash = 0;
        if (is_object && key_order == KeyOrder::kIgnored) {
            hash = container.in_any_order(token);
        } else if (is_object || first == '[') {
            hash = container.in_order(token);
        } else {
            hash = TextHash()(tree.bytes(token));
        }
        hashes_[token] = static_cast<std::uint32_t>(hash);
    }
}

}  // namespace cairn
