#include "pipeline/mergers.h"

#include "pipeline/messages.h"
#include "pipeline/three_way_merge.h"
#include "state/json_path.h"
#include "state/state_equality.h"
#include "state/state_members.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace cairn {
namespace {

using Decision = Result<std::optional<std::string>>;

std::unexpected<Error> not_appended(const MemberConflict& conflict, std::size_t candidate, std::string_view why) {
    return fail(ErrorCode::kConflict,
                fmt::format("step {} {}: the merger \"append\" needs the list {} as it was, with "
                            "new elements behind",
                            in_quotes(conflict.steps[candidate]), why, in_quotes(conflict.member)));
}

/// The elements that `list` has behind those of `before`; nothing if it does not start with them.
std::optional<std::string_view> appended(std::string_view before, std::string_view list) {
    ElementReader old_elements(before);
    ElementReader elements(list);
    while (const auto old_element = old_elements.next()) {
        const auto element = elements.next(*old_element);
        if (!element || !json_equal(*element, *old_element)) return std::nullopt;
    }
    return elements.rest();
}

/// Objects that are merged inside one another. The paths and steps are those of the conflict that it began with.
class ObjectMerge {
public:
    explicit ObjectMerge(const MemberConflict& conflict) : conflict_(conflict) {}

    /// `steps` holds, for each candidate's copy, who made it.
    Decision merge(const ContestedMember& member, const std::vector<std::size_t>& steps) {
        path_.push_back({.into_object = true, .has_key = true, .key = member.key.substr(1, member.key.size() - 2)});
        Decision merged = merge_at_path(member, steps);
        path_.pop_back();
        return merged;
    }

private:
    static constexpr std::size_t kDepthMax = 128;  ///< Each level is a call.

    Decision merge_at_path(const ContestedMember& member, const std::vector<std::size_t>& steps) {
        std::vector<std::string_view> copies;
        std::vector<std::size_t> steps_of_copies;
        for (const auto& candidate : member.candidates) {
            copies.push_back(candidate.value.value_or("null"));
            steps_of_copies.push_back(steps[candidate.copy]);
        }
        const std::string_view before = member.before.value_or("{}");
        const auto is_object = [](std::string_view value) { return value.starts_with('{'); };
        if (!is_object(before) || !std::ranges::all_of(copies, is_object)) return refuse(steps_of_copies);
        if (path_.size() > kDepthMax) return too_deep();
        Result<std::string> merged =
            merge_copies(before, copies, [&](const ContestedMember& inner) { return merge(inner, steps_of_copies); });
        if (!merged) return std::unexpected(std::move(merged.error()));
        return *std::move(merged);
    }

    Decision refuse(const std::vector<std::size_t>& steps) const {
        std::vector<std::string> names;
        names.reserve(steps.size());
        for (const std::size_t step : steps) names.push_back(conflict_.steps[step]);
        return fail(ErrorCode::kConflict,
                    fmt::format("at {} steps {} have changed, each in its own way, what is not an object in all of "
                                "them: the merger \"merge\" merges objects only",
                                json_path(path_), quoted_list(names)));
    }

    Decision too_deep() const {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("at {} steps have changed the same object more than {} levels deep: the merger "
                                "\"merge\" goes no deeper",
                                json_path(path_), kDepthMax));
    }

    const MemberConflict& conflict_;
    std::vector<JsonPathStep> path_;
};

}  // namespace

Result<std::optional<std::string>> append_lists(const MemberConflict& conflict) {
    const std::string before = conflict.before.value_or("[]");
    if (!before.starts_with('[')) return not_appended(conflict, 0, "has changed what was no list");
    std::string elements(before.substr(1, before.size() - 2));
    for (std::size_t i = 0; i < conflict.candidates.size(); ++i) {
        const auto& candidate = conflict.candidates[i];
        if (!candidate) return not_appended(conflict, i, "has removed it");
        if (!candidate->starts_with('[')) return not_appended(conflict, i, "has made it no list");
        const auto added = appended(before, *candidate);
        if (!added) return not_appended(conflict, i, "has changed elements that were there before");
        if (!elements.empty() && !added->empty()) elements += ',';
        elements += *added;
    }
    return fmt::format("[{}]", elements);
}

Result<std::optional<std::string>> merge_objects(const MemberConflict& conflict) {
    const std::string key = in_quotes(conflict.member);  // Only shown.
    ContestedMember member{key, conflict.before, {}};
    std::vector<std::size_t> steps;
    for (std::size_t i = 0; i < conflict.candidates.size(); ++i) {
        member.candidates.push_back({i, conflict.candidates[i]});
        steps.push_back(i);
    }
    return ObjectMerge(conflict).merge(member, steps);
}

}  // namespace cairn
