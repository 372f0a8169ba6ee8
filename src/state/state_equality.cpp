// Equality up to the order of keys. It is exact, and nearly free in the usual cases. Expensive work is only done for
// texts that differ and whose bytes are permutations of each other, as when the keys have another order.

#include "state/state_equality.h"

#include "state/token_tree.h"

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

namespace cairn {
namespace {

/// The length of the common front of two texts of one size.
std::size_t common_prefix_bytes(std::string_view left, std::string_view right) {
    constexpr std::size_t kBlockBytes = 256;
    for (std::size_t at = 0; at < left.size(); at += kBlockBytes) {
        const std::string_view left_block = left.substr(at, kBlockBytes);
        const std::string_view right_block = right.substr(at, kBlockBytes);
        if (left_block == right_block) continue;
        const auto difference = std::ranges::mismatch(left_block, right_block);
        return at + static_cast<std::size_t>(difference.in1 - left_block.begin());
    }
    return left.size();
}

/// The same for every order of the same bytes. It sums squares, because plain sums are the same for "13" and "22".
std::uint32_t sum_of_squares(std::string_view bytes) {
    std::uint32_t sum = 0;
    for (const char c : bytes) {
        const std::uint32_t value = static_cast<unsigned char>(c);
        sum += value * value;
    }
    return sum;
}

/// Compares two trees without recursion: `to_compare_` holds the pairs of values that must still be found equal. Each
/// token is compared once. So the cost is that of reading both texts and of sorting members whose order changes.
class Comparison {
public:
    Comparison(const TokenTree& left, const TokenTree& right) : left_(left), right_(right) {}

    bool equal(std::uint32_t left_value, std::uint32_t right_value) {
        to_compare_.emplace_back(left_value, right_value);
        while (!to_compare_.empty()) {
            const auto [left, right] = to_compare_.back();
            to_compare_.pop_back();
            if (!equal_but_for_children(left, right)) return false;
        }
        return true;
    }

private:
    bool equal_but_for_children(std::uint32_t left, std::uint32_t right) {
        if (left_.bytes(left) != right_.bytes(right)) return false;
        switch (left_.first_byte(left)) {
            case '{':
                return pair_members(left, right);
            case '[':
                return pair_elements(left, right);
            default:
                return true;
        }
    }

    bool pair_elements(std::uint32_t left, std::uint32_t right) {
        const std::uint32_t left_end = left_.after(left) - 1;
        const std::uint32_t right_end = right_.after(right) - 1;
        ++left;
        ++right;
        while (left < left_end && right < right_end) {
            to_compare_.emplace_back(left, right);
            left = left_.after(left) + 1;
            right = right_.after(right) + 1;
        }
        return left >= left_end && right >= right_end;
    }

    bool pair_members(std::uint32_t left, std::uint32_t right) {
        left_.list_members(left, left_members_);
        right_.list_members(right, right_members_);
        if (!std::ranges::equal(left_members_, right_members_, {}, &TokenMember::key, &TokenMember::key)) {
            if (left_members_.size() != right_members_.size()) return false;
            std::ranges::sort(left_members_);
            std::ranges::sort(right_members_);
            if (!std::ranges::equal(left_members_, right_members_, {}, &TokenMember::key, &TokenMember::key))
                return false;
        }
        for (std::size_t i = 0; i < left_members_.size(); ++i) {
            to_compare_.emplace_back(left_members_[i].value, right_members_[i].value);
        }
        return true;
    }

    const TokenTree& left_;
    const TokenTree& right_;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> to_compare_;
    std::vector<TokenMember> left_members_;
    std::vector<TokenMember> right_members_;
};

bool equal_up_to_key_order(std::string_view left, std::string_view right) try {
    TokenTree left_tree(left);
    TokenTree right_tree(right);
    return left_tree.build() && right_tree.build() && Comparison(left_tree, right_tree).equal(0, 0);
} catch (const std::bad_alloc&) {
    return false;  // "Not equal" is the safe answer: the state is saved once more.
}

}  // namespace

bool json_equal(std::string_view left, std::string_view right) noexcept {
    if (left.size() != right.size()) return false;
    const std::size_t same_bytes = common_prefix_bytes(left, right);
    if (same_bytes == left.size()) return true;
    return sum_of_squares(left.substr(same_bytes)) == sum_of_squares(right.substr(same_bytes)) &&
           equal_up_to_key_order(left, right);
}

bool json_equal(const TokenTree& left, std::uint32_t left_value, const TokenTree& right, std::uint32_t right_value) {
    return left.value(left_value) == right.value(right_value) || Comparison(left, right).equal(left_value, right_value);
}

}  // namespace cairn
