#pragma once

// The mergers that every engine knows.

#include <cairn/pipeline.h>

#include <optional>
#include <string>

namespace cairn {

/// `append`: the old list, followed by what each step has appended, in step order. The member may be a new one.
/// Errors: kConflict naming the step that has removed the list, or changed it to anything but the old list with more
///   elements at its end.
[[nodiscard]] Result<std::optional<std::string>> append_lists(const MemberConflict& conflict);

/// `merge`: merges the objects member by member, at every depth, in the way in which the members of the state are
/// merged (three_way_merge.h). The member may be new. O(n log n) in the texts, at any depth and whatever the keys.
/// Errors: kConflict naming a place that steps have changed differently and that is not an object in all of them;
///   kUnavailable (the conflict's `stop` was requested).
[[nodiscard]] Result<std::optional<std::string>> merge_objects(const MemberConflict& conflict);

}  // namespace cairn
