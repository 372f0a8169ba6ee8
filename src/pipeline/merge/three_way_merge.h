#pragma once

// Merges copies of one object that were changed independently, member by member, on their normal texts.

#include <cairn/error.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

/// A member that several copies have changed differently.
struct ContestedMember {
    struct Candidate {
        std::size_t copy = 0;
        std::optional<std::string_view> value = {};  ///< Nothing: removed.
    };
    std::string_view key;                    ///< As written, with its quotes.
    std::optional<std::string_view> before;  ///< Nothing: it did not exist.
    std::vector<Candidate> candidates;       ///< In the order of the copies.
};

/// Returns the member's normal text, or nothing to remove it.
using DecideMember = std::function<Result<std::optional<std::string>>(const ContestedMember& member)>;

/// Returns the text of the merged object. A value counts as changed if it is different JSON: another order of the keys
/// inside it is no change. The same change made twice is no contest. Of duplicate keys the last counts. Members keep
/// the order of `before`; new ones follow, copy by copy. Linear in the sizes; an unchanged member costs a memcmp.
/// Errors: those of `decide`, which is called once for each contested member; kUnavailable (`stop` was requested).
[[nodiscard]] Result<std::string> merge_copies(std::string_view before, std::span<const std::string_view> copies,
                                               const DecideMember& decide, const std::stop_token& stop = {});

}  // namespace cairn
