#include "pipeline/merge/mergers.h"

#include "pipeline/messages.h"
#include "state/state_equality.h"
#include "state/token_tree.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace cairn {
namespace {

std::unexpected<Error> append_error(const MemberConflict& conflict, std::size_t candidate, std::string_view why) {
    return fail(ErrorCode::kConflict,
                fmt::format("step {} {}: the merger \"append\" needs the list {} as it was, with "
                            "new elements behind",
                            in_quotes(conflict.steps[candidate]), why, in_quotes(conflict.member)));
}

std::unexpected<Error> unreadable_list_error(const MemberConflict& conflict) {
    return fail(ErrorCode::kInternal, fmt::format("the lists {} cannot be read", in_quotes(conflict.member)));
}

/// The text between the brackets of a list.
std::string_view inside(std::string_view list) {
    return list.substr(1, list.size() - 2);
}

/// A list and the positions of its elements.
class List {
public:
    explicit List(std::string_view text) : text_(text), tree_(text) {}

    bool read() {
        if (!tree_.build() || tree_.first_byte(0) != '[') return false;
        tree_.list_elements(0, elements_);
        return true;
    }

    /// Says whether it starts with the elements of `other`.
    bool starts_with(const List& other) const {
        if (elements_.size() < other.elements_.size()) return false;
        for (std::size_t i = 0; i < other.elements_.size(); ++i) {
            if (!json_equal(tree_, elements_[i], other.tree_, other.elements_[i])) return false;
        }
        return true;
    }

    /// The elements from this index on, with the commas between them.
    std::string_view elements_from(std::size_t index) const {
        if (index == elements_.size()) return {};
        const char* begin = tree_.value(elements_[index]).data();
        return {begin, text_.data() + text_.size() - 1};
    }

    std::size_t size() const { return elements_.size(); }

private:
    std::string_view text_;
    TokenTree tree_;
    std::vector<std::uint32_t> elements_;
};

}  // namespace

Result<std::optional<std::string>> append_lists(const MemberConflict& conflict) {
    const std::string before = conflict.before.value_or("[]");
    if (!before.starts_with('[')) return append_error(conflict, 0, "has changed what was no list");
    List old(before);
    if (!old.read()) return unreadable_list_error(conflict);
    std::string elements(inside(before));
    for (std::size_t i = 0; i < conflict.candidates.size(); ++i) {
        if (conflict.stop.stop_requested()) return fail(ErrorCode::kUnavailable, "it was asked to stop");
        const auto& candidate = conflict.candidates[i];
        if (!candidate) return append_error(conflict, i, "has removed it");
        if (!candidate->starts_with('[')) return append_error(conflict, i, "has made it no list");
        List list(*candidate);
        if (!list.read()) return unreadable_list_error(conflict);
        if (!list.starts_with(old)) return append_error(conflict, i, "has changed elements that were there before");
        const std::string_view added = list.elements_from(old.size());
        if (!elements.empty() && !added.empty()) elements += ',';
        elements += added;
    }
    return fmt::format("[{}]", elements);
}

}  // namespace cairn
