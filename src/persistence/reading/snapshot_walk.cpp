#include "persistence/reading/snapshot_walk.h"

#include "base/default_deadline.h"

#include <utility>

namespace cairn {

Status visit_snapshots(Store& store, const std::string& run_id, const std::function<Status(const SnapshotInfo&)>& visit,
                       Deadline deadline) {
    HistoryQuery query{.run_id = run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 500};
    while (true) {
        const auto page = store.history(query, reading_deadline(deadline));
        if (!page) return std::unexpected(page.error());
        for (const SnapshotInfo& info : *page) {
            if (Status visited = visit(info); !visited) return visited;
        }
        if (page->size() < query.limit) return {};
        query.after_version = page->back().version;
    }
}

Result<std::optional<SnapshotInfo>> find_version(Store& store, const std::string& run_id, std::int64_t version,
                                                 Deadline deadline, Store::Reading reading) {
    auto page = store.history({.run_id = run_id,
                               .order = HistoryQuery::Order::kOldestFirst,
                               .after_version = version - 1,  // cannot overflow, unlike version + 1
                               .limit = 1},
                              reading_deadline(deadline), reading);
    if (!page) return std::unexpected(page.error());
    if (page->empty() || page->front().version != version) return std::nullopt;
    return std::move(page->front());
}

}  // namespace cairn
