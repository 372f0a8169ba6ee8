#pragma once

// Deletes unused labels while writers use labels.
//
// Labels have no index of their uses: every save would pay for it. So the uses are found by reading `snapshots`, the
// newest first, a few thousand rows at a time and without a lock, until every label has been seen. That is usually
// soon. A label that was not seen may have been used meanwhile, but only by rows newer than the start of the reading
// (`sequence` never goes back, and a row's label never changes). The transaction that deletes looks at those rows.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>

#include <cstdint>
#include <set>

namespace cairn::sqlite {

class LabelSweep {
public:
    /// Reads some more snapshots. Each call may be on another connection.
    [[nodiscard]] Status look_on(Connection& connection);
    bool has_looked_at_all() const { return has_looked_at_all_; }

    /// Call it after all have been read: deletes some unused labels, in a transaction of its own.
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
