#include "persistence/reading/run_examination.h"
#include "persistence/reading/snapshot_reader.h"

#include <cairn/persistence.h>

#include <utility>

namespace cairn {
namespace {

// What its record says of damage is in the store's own report.
Status add_problems(Store& store, const std::string& run_id, const RunExamination& examination, CheckReport& report) {
    HistoryQuery query{.run_id = run_id};
    while (true) {
        const Result<std::vector<SnapshotInfo>> page = store.history(query);
        if (!page) return std::unexpected(page.error());
        for (const SnapshotInfo& info : *page) {
            std::optional<Error> problem = info.damage.empty() ? examination.problem(info) : std::nullopt;
            if (!problem) continue;
            report.findings.push_back(
                {.run_id = run_id,
                 .snapshot_id = info.snapshot_id,
                 .problem = std::move(problem->message),
                 .code = problem->code == ErrorCode::kLimitExceeded ? problem->code : ErrorCode::kCorrupt});
        }
        if (page->size() < query.limit) return {};
        query.after_version = page->back().version;
    }
}

Status examine_run(Store& store, const std::string& run_id, const StateLimits& limits, CheckReport& report) {
    RunExamination examination(store, run_id, limits);
    Status done = examination.read_records();
    if (done) done = examination.examine_all();
    if (done && examination.has_problems()) done = add_problems(store, run_id, examination, report);
    if (done || !is_damage(done.error())) return done;
    report.findings.push_back({.run_id = run_id, .snapshot_id = "", .problem = done.error().message});
    return {};
}

}  // namespace

Result<CheckReport> check_deep(Store& store, const StateLimits& limits) {
    Result<CheckReport> report = store.check();
    if (!report) return report;
    RunQuery query;
    do {
        const Result<Page<RunInfo>> page = store.runs(query);
        if (!page && !is_damage(page.error())) return std::unexpected(page.error());
        if (!page) {  // the engine's own pages are: nobody knows which runs come behind
            report->findings.push_back({.run_id = "", .snapshot_id = "", .problem = page.error().message});
            return report;
        }
        for (const RunInfo& run : page->items) {
            if (Status status = examine_run(store, run.run_id, limits, *report); !status) {
                return std::unexpected(std::move(status.error()));
            }
        }
        query.cursor = page->next_cursor;
    } while (!query.cursor.empty());
    return report;
}

}  // namespace cairn
