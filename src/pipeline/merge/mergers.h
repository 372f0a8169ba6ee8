#pragma once

// The mergers that every engine knows.

#include <cairn/pipeline.h>

#include <optional>
#include <string>

namespace cairn {

/// `append`: the list as it was, and what each step has appended, in step order. The member may be a new one.
/// Errors: kConflict naming the step that has removed the list, or made it something else than the old one with more
///   elements behind.
[[nodiscard]] Result<std::optional<std::string>> append_lists(const MemberConflict& conflict);

/// `merge`: the objects member by member, at every depth, as the members of the state are merged (three_way_merge.h).
/// The member may be new. O(n log n) in the texts, at any depth and whatever the keys.
/// Errors: kConflict naming the place that steps have changed, each in its own way, and that is no object in all of
///   them; kUnavailable (the conflict's `stop` was requested).
[[nodiscard]] Result<std::optional<std::string>> merge_objects(const MemberConflict& conflict);

}  // namespace cairn
