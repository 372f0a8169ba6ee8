#pragma once

// Deleting the words that no snapshot has any more, beside writers that use them.
//
// Labels have no index of their uses, which every save would pay for. So the uses are found by reading `snapshots`, the
// newest first, a few thousand rows at a time and without a lock, until every label has been seen: soon, as a rule.
// What was not seen may still have been used meanwhile, but only by rows that are newer than where the reading began
// (`sequence` never goes back and a row's label never changes). The transaction that deletes looks at those.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>

#include <cstdint>
#include <set>

namespace cairn::sqlite {

class LabelSweep {
public:
    /// Looks at some more snapshots. Each call may be on another connection.
    [[nodiscard]] Status look_on(Connection& connection);
    bool has_looked_at_all() const { return has_looked_at_all_; }

    /// Then: deletes some of what nobody uses, in a transaction of its own.
    [[nodiscard]] Status remove_some(Connection& connection);
    bool has_removed_all() const { return unseen_.empty(); }

private:
    Status begin(Connection& connection);
    Status look_at_newer(Connection& connection);
    Status remove(Connection& connection);

    bool has_begun_ = false;
    bool has_looked_at_all_ = false;
    std::set<std::int64_t> unseen_;  // label keys
    std::int64_t begun_at_ = 0;      // the newest row when the reading began
    std::int64_t before_ = 0;        // rows from here on have been looked at
};

}  // namespace cairn::sqlite
