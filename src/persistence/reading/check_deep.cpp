#include "base/default_deadline.h"
#include "persistence/reading/run_examination.h"
#include "persistence/reading/snapshot_reader.h"

#include <cairn/persistence.h>

#include <utility>

#include <algorithm>

namespace cairn {
namespace {

// Skips snapshots whose record is damaged: the store's own report has them already.
Status add_problems(Store& store, const std::string& run_id, const RunExamination& examination, Deadline deadline,
                    CheckReport& report) {
    HistoryQuery query{.run_id = run_id};
    while (true) {
        const Result<std::vector<SnapshotInfo>> page = store.history(query, reading_deadline(deadline));
        if (!page) return std::unexpected(page.error());
        for (const SnapshotInfo& info : *page) {
            if (!info.damage.empty()) continue;
            const std::optional<Error> problem = examination.problem(info);
            if (!problem) continue;
            report.findings.push_back(
                {.run_id = run_id,
                 .snapshot_id = info.snapshot_id,
                 .problem = problem->message,
                 .code = problem->code == ErrorCode::kLimitExceeded ? problem->code : ErrorCode::kCorrupt});
        }
        if (page->size() < query.limit) return {};
        query.after_version = page->back().version;
    }
}

Status examine_run(Store& store, const std::string& run_id, const StateLimits& limits, Deadline deadline,
                   CheckReport& report) {
    RunExamination examination(store, run_id, limits, deadline);
    Status done = examination.read_records();
    if (done) done = examination.examine_all();
    if (done && examination.has_problems()) done = add_problems(store, run_id, examination, deadline, report);
    if (done || !is_damage(done.error())) return done;
    report.findings.push_back({.run_id = run_id, .snapshot_id = "", .problem = done.error().message});
    return {};
}

}  // namespace

Result<CheckReport> check_deep(Store& store, Deadline deadline, const StateLimits& limits) {
    Result<CheckReport> report = store.check(deadline);
    if (!report) return report;
    RunQuery query{.order = RunQuery::Order::kById};
    do {
        const Result<Page<RunInfo>> page = store.runs(query, reading_deadline(deadline));
        if (!page && !is_damage(page.error())) return std::unexpected(page.error());
        if (!page) {  // the engine's own pages are damaged: the runs behind them are unknown
            report->findings.push_back({.run_id = "", .snapshot_id = "", .problem = page.error().message});
            return report;
        }
        for (const RunInfo& run : page->items) {
            if (Status status = examine_run(store, run.run_id, limits, deadline, *report); !status) {
                return std::unexpected(std::move(status.error()));
            }
        }
        query.cursor = page->next_cursor;
    } while (!query.cursor.empty());
    return report;
}

}  // namespace cairn
