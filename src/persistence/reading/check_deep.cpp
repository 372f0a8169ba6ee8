#include "base/default_deadline.h"
#include "persistence/reading/chain_survey.h"
#include "persistence/reading/snapshot_reader.h"

#include <cairn/persistence.h>

#include <fmt/format.h>

#include <algorithm>

namespace cairn {
namespace {

// A check may take all the time, but none of its readings waits so long for others.
Deadline until(Deadline deadline) {
    return std::min(deadline, default_deadline());
}

/// One run: a pass over its records, then every state, the newest first, so that most are decoded with a later one.
class RunCheck {
public:
    RunCheck(Store& store, const std::string& run_id, const StateLimits& limits, Deadline deadline, CheckReport& report)
        : store_(store), run_id_(run_id), limits_(limits), deadline_(deadline), report_(report), survey_(limits) {}

    Status run() {
        using Order = HistoryQuery::Order;
        const auto add = [&](const SnapshotInfo& info) {
            survey_.add(info);
            return Status{};
        };
        const Status added = visit(Order::kOldestFirst, add);
        if (!added && is_damage(added.error())) {
            note("", added.error().message);
            return {};
        }
        return added ? visit(Order::kNewestFirst, [&](const SnapshotInfo& info) { return check(info); }) : added;
    }

private:
    template <class Visit>
    Status visit(HistoryQuery::Order order, Visit visit_one) {
        HistoryQuery query{.run_id = run_id_, .order = order};
        while (true) {
            const Result<std::vector<SnapshotInfo>> page = store_.history(query, until(deadline_));
            if (!page) return std::unexpected(page.error());
            for (const SnapshotInfo& info : *page) {
                if (Status visited = visit_one(info); !visited) return visited;
            }
            if (page->size() < query.limit) return {};
            query.after_version = page->back().version;
        }
    }

    Status check(const SnapshotInfo& info) {
        if (survey_.is_proven(info)) return {};
        if (const auto problem = survey_.problem(info)) {
            note(info.snapshot_id, *problem);
            return {};
        }
        const LoadRequest request{.run_id = run_id_, .snapshot_id = info.snapshot_id};
        const Result<ChainedState> loaded = load_snapshot(store_, request, limits_, until(deadline_));
        if (!loaded && loaded.error().code == ErrorCode::kNotFound) return {};  // deleted since the page was read
        if (!loaded && !is_damage(loaded.error())) return std::unexpected(loaded.error());
        if (!loaded) note(info.snapshot_id, loaded.error().message);
        return info.base_version == 0 ? Status{} : learn(request, !loaded);
    }

    Status learn(const LoadRequest& request, bool is_damaged) {
        const Result<std::optional<Snapshot>> snapshot =
            store_.get(request.run_id, request.snapshot_id, until(deadline_));
        if (!snapshot && !is_damage(snapshot.error())) return std::unexpected(snapshot.error());
        if (snapshot && *snapshot) survey_.learn(**snapshot, is_damaged);
        return {};
    }

    void note(const std::string& snapshot_id, const std::string& problem) {
        report_.findings.push_back({.run_id = run_id_, .snapshot_id = snapshot_id, .problem = problem});
    }

    Store& store_;
    const std::string& run_id_;
    const StateLimits& limits_;
    const Deadline deadline_;
    CheckReport& report_;
    ChainSurvey survey_;
};

}  // namespace

Result<CheckReport> check_deep(Store& store, Deadline deadline, const StateLimits& limits) {
    Result<CheckReport> report = store.check(deadline);
    if (!report) return report;
    RunQuery query{.order = RunQuery::Order::kById};
    do {
        const Result<Page<RunInfo>> page = store.runs(query, until(deadline));
        if (!page && !is_damage(page.error())) return std::unexpected(page.error());
        if (!page) {
            report->findings.push_back({.run_id = "", .snapshot_id = "", .problem = page.error().message});
            return report;
        }
        for (const RunInfo& run : page->items) {
            if (Status status = RunCheck(store, run.run_id, limits, deadline, *report).run(); !status) {
                return std::unexpected(std::move(status.error()));
            }
        }
        query.cursor = page->next_cursor;
    } while (!query.cursor.empty());
    return report;
}

}  // namespace cairn
