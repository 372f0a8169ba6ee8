#include "persistence/snapshot_reader.h"

#include <cairn/persistence.h>

namespace cairn {
namespace {

Status check_run(Store& store, const std::string& run_id, const StateLimits& limits, CheckReport& report) {
    HistoryQuery query{.run_id = run_id};
    while (true) {
        const Result<std::vector<SnapshotInfo>> page = store.history(query);
        if (!page && !is_damage(page.error())) return std::unexpected(page.error());
        if (!page) {
            report.findings.push_back({.run_id = run_id, .snapshot_id = "", .problem = page.error().message});
            return {};
        }
        for (const SnapshotInfo& info : *page) {
            const Result<ChainedState> loaded =
                load_snapshot(store, {.run_id = run_id, .snapshot_id = info.snapshot_id}, limits);
            if (loaded || loaded.error().code == ErrorCode::kNotFound) continue;  // or deleted since the page was read
            if (!is_damage(loaded.error())) return std::unexpected(loaded.error());
            report.findings.push_back(
                {.run_id = run_id, .snapshot_id = info.snapshot_id, .problem = loaded.error().message});
        }
        if (page->size() < query.limit) return {};
        query.after_version = page->back().version;
    }
}

}  // namespace

Result<CheckReport> check_deep(Store& store, const StateLimits& limits) {
    Result<CheckReport> report = store.check();
    if (!report) return report;
    RunQuery query;
    do {
        const Result<Page<RunInfo>> page = store.runs(query);
        if (!page && !is_damage(page.error())) return std::unexpected(page.error());
        if (!page) {
            report->findings.push_back({.run_id = "", .snapshot_id = "", .problem = page.error().message});
            return report;
        }
        for (const RunInfo& run : page->items) {
            if (Status status = check_run(store, run.run_id, limits, *report); !status) {
                return std::unexpected(std::move(status.error()));
            }
        }
        query.cursor = page->next_cursor;
    } while (!query.cursor.empty());
    return report;
}

}  // namespace cairn
