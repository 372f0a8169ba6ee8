#include "state/token_tree.h"

namespace cairn {

bool TokenTree::build() {
    if (index_.index(text_) != StructuralIndex::Outcome::kIndexed) return false;
    positions_ = index_.positions();
    after_.resize(positions_.size() - 1);
    std::vector<std::uint32_t> open;
    for (std::uint32_t token = 0; token < after_.size(); ++token) {
        after_[token] = token + 1;
        const char first = first_byte(token);
        if (first == '{' || first == '[') open.push_back(token);
        if (first != '}' && first != ']') continue;
        if (open.empty()) return false;
        after_[open.back()] = token + 1;
        open.pop_back();
    }
    return open.empty();
}

void TokenTree::list_members(std::uint32_t object, std::vector<TokenMember>& members) const {
    members.clear();
    const std::uint32_t end = after(object) - 1;
    for (std::uint32_t key = object + 1; key + 2 < end;) {
        members.push_back({bytes(key), key + 2});
        key = after(key + 2) + 1;
    }
}

void TokenTree::list_elements(std::uint32_t list, std::vector<std::uint32_t>& elements) const {
    elements.clear();
    const std::uint32_t end = after(list) - 1;
    for (std::uint32_t element = list + 1; element < end; element = after(element) + 1) elements.push_back(element);
}

}  // namespace cairn
