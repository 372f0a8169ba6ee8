#include "persistence/guarded.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/retention/retention_policy.h"
#include "persistence/retention/retention_worker.h"
#include "persistence/timeouts.h"

#include <cairn/retention.h>

#include <fmt/format.h>

#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace cairn {
namespace {

/// Selects runs; an empty member selects any.
struct Owners {
    const std::optional<std::string>& run_id;
    const std::optional<std::string>& thread_id;
    const std::optional<std::string>& user_id;
};

using Visit = std::function<Status(const OwnedRun&)>;

bool matches(const std::optional<std::string>& wanted, const std::string& value) {
    return !wanted || *wanted == value;
}

Status visit_one(Store& store, const Owners& owners, RetentionWorker& worker, const Visit& visit) {
    Result<std::optional<Head>> head = store.head(*owners.run_id, worker.until());
    if (!head) return std::unexpected(std::move(head.error()));
    const bool is_theirs =
        *head && matches(owners.thread_id, (*head)->thread_id) && matches(owners.user_id, (*head)->user_id);
    if (!is_theirs || worker.is_cancelled()) return {};
    worker.expect_runs(1);
    return visit({.run_id = *owners.run_id, .thread_id = (*head)->thread_id, .user_id = (*head)->user_id});
}

// Reads a page at a time. Runs that are created meanwhile may be missed; runs that are deleted do not move the page.
Status visit_all(Store& store, const Owners& owners, RetentionWorker& worker, const Visit& visit) {
    RunQuery query{.thread_id = owners.thread_id, .user_id = owners.user_id, .order = RunQuery::Order::kById};
    do {
        const Result<Page<RunInfo>> page = store.runs(query, worker.until());
        if (!page) return std::unexpected(page.error());
        query.cursor = page->next_cursor;
        if (query.cursor.empty()) worker.expect_runs(worker.report().runs_examined + page->items.size());
        for (const RunInfo& run : page->items) {
            if (worker.is_cancelled()) return {};
            Status status =
                visit({.run_id = run.run_id, .thread_id = run.thread_id, .user_id = run.user_id, .damage = run.damage});
            if (!status) return status;
        }
    } while (!query.cursor.empty());
    return {};
}

Status visit_runs(Store& store, const Owners& owners, RetentionWorker& worker, const Visit& visit) {
    return owners.run_id ? visit_one(store, owners, worker, visit) : visit_all(store, owners, worker, visit);
}

// The id in a damaged record may be wrong. Then no run is found by it.
Status check_can_be_found(Store& store, const OwnedRun& run, Deadline deadline) {
    if (run.damage.empty()) return {};
    const Result<std::optional<Head>> head = store.head(run.run_id, deadline);
    if (head && *head) return {};
    return fail(ErrorCode::kCorrupt, fmt::format("run \"{}\": {}", run.run_id, run.damage));
}

/// Collects runs that cannot be read, so that the others are pruned all the same. Otherwise a store with one damaged
/// run would grow for ever.
class DamagedRuns {
public:
    explicit DamagedRuns(const Runtime& runtime) : runtime_(runtime) {}

    /// Returns an error that is not about this run alone. Logs any other error, and keeps the first one.
    Status note(const OwnedRun& run, Status status) {
        if (status || !is_unreadable(status.error())) return status;
        runtime_.log({.level = LogLevel::kError,
                      .event = "retention_damage",
                      .message = status.error().message,
                      .fields = {{"run_id", run.run_id}}});
        if (first_) first_ = std::move(status);
        return {};
    }
    const Status& first() const { return first_; }

private:
    const Runtime& runtime_;
    Status first_;
};

Result<RetentionReport> prune_store(Store& store, const RetentionPolicy& policy, const RetentionOptions& options) {
    if (Status status = check_retention_policy(policy); !status) return std::unexpected(std::move(status.error()));
    if (Status status = check_retention_options(options); !status) return std::unexpected(std::move(status.error()));
    const Timestamp now = options.runtime.clock->now();
    const auto mark = [&](std::span<RetentionEntry> entries) { mark_by_policy(entries, policy, now); };

    RetentionWorker worker(store, options);
    DamagedRuns damaged(options.runtime);
    const auto visit = [&](const OwnedRun& run) {
        const Status found = check_can_be_found(store, run, worker.until());
        return damaged.note(run, found ? worker.prune_run(run, mark) : found);
    };
    Status status = visit_runs(store, {policy.run_id, policy.thread_id, policy.user_id}, worker, visit);
    if (status) status = worker.reclaim();
    if (!status) return std::unexpected(std::move(status.error()));
    if (!damaged.first()) return std::unexpected(damaged.first().error());
    return worker.report();
}

Result<RetentionReport> delete_from_store(Store& store, const DeletionTarget& target, const RetentionOptions& options) {
    if (Status status = check_deletion_target(target); !status) return std::unexpected(std::move(status.error()));
    if (Status status = check_retention_options(options); !status) return std::unexpected(std::move(status.error()));
    RetentionWorker worker(store, options);
    DamagedRuns damaged(options.runtime);
    const auto visit = [&](const OwnedRun& run) {
        const Status found = check_can_be_found(store, run, worker.until());
        return damaged.note(run, found ? worker.delete_run(run) : found);
    };
    Status status = visit_runs(store, {target.run_id, target.thread_id, target.user_id}, worker, visit);
    if (!status) return std::unexpected(std::move(status.error()));
    if (worker.report().runs_examined == 0 && damaged.first() && !worker.report().was_cancelled) {
        return fail(ErrorCode::kNotFound, "no run has these owners");
    }
    if (status = worker.reclaim(); !status) return std::unexpected(std::move(status.error()));
    if (!damaged.first()) return std::unexpected(damaged.first().error());
    return worker.report();
}

RetentionOptions with_defaults(const RetentionOptions& options) {
    RetentionOptions complete = options;
    complete.runtime = options.runtime.with_defaults();
    complete.timeout = bounded(options.timeout);
    return complete;
}

}  // namespace

Result<RetentionReport> prune(Store& store, const RetentionPolicy& policy, const RetentionOptions& options) {
    return guarded([&] { return prune_store(store, policy, with_defaults(options)); });
}

Result<RetentionReport> delete_runs(Store& store, const DeletionTarget& target, const RetentionOptions& options) {
    return guarded([&] { return delete_from_store(store, target, with_defaults(options)); });
}

}  // namespace cairn
