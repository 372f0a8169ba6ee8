#pragma once

// The tokens of a normal text with its structure. Algorithms that walk a whole state without recursion and in linear
// time use it.

#include "state/structural_index.h"

#include <compare>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace cairn {

/// A member of an object in a `TokenTree`.
struct TokenMember {
    std::string_view key;     ///< As written, with its quotes.
    std::uint32_t value = 0;  ///< Its first token; sorting uses it to keep the order of duplicates.

    friend auto operator<=>(const TokenMember&, const TokenMember&) = default;
};

/// The tokens of a normal text, and for each value the start of the next one. Safe with any text, but the results are
/// only meaningful for normal text. Views the text. May throw std::bad_alloc.
class TokenTree {
public:
    explicit TokenTree(std::string_view text) : text_(text) {}

    /// Returns false if the brackets do not match, or if `StructuralIndex` refuses the text. Nothing else may be called
    /// then.
    bool build();

    std::uint32_t size() const { return static_cast<std::uint32_t>(after_.size()); }
    char first_byte(std::uint32_t token) const { return text_[positions_[token]]; }
    std::string_view bytes(std::uint32_t token) const {
        return text_.substr(positions_[token], positions_[token + 1] - positions_[token]);
    }
    /// The whole value that starts at `token`.
    std::string_view value(std::uint32_t token) const {
        const std::uint32_t last = after(token) - 1;
        return text_.substr(positions_[token], positions_[last + 1] - positions_[token]);
    }
    /// The token after the value that starts at `token`.
    std::uint32_t after(std::uint32_t token) const { return after_[token]; }

    /// Replaces `members` by the members of the object that starts at `object`.
    void list_members(std::uint32_t object, std::vector<TokenMember>& members) const;
    /// Replaces `elements` by the first tokens of the elements of the list that starts at `list`.
    void list_elements(std::uint32_t list, std::vector<std::uint32_t>& elements) const;

private:
    std::string_view text_;
    StructuralIndex index_;
    std::span<const std::uint32_t> positions_;
    std::vector<std::uint32_t> after_;
};

}  // namespace cairn
