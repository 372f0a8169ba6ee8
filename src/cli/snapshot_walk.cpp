#include "cli/snapshot_walk.h"

namespace cairn::cli {

Status visit_snapshots(Store& store, const std::string& run_id,
                       const std::function<Status(const SnapshotInfo&)>& visit) {
    HistoryQuery query{.run_id = run_id, .order = HistoryQuery::Order::kOldestFirst, .limit = 500};
    while (true) {
        const auto page = store.history(query);
        if (!page) return std::unexpected(page.error());
        for (const SnapshotInfo& info : *page) {
            if (Status visited = visit(info); !visited) return visited;
        }
        if (page->size() < query.limit) return {};
        query.after_version = page->back().version;
    }
}

}  // namespace cairn::cli
