#pragma once

#include <cairn/call_executor.h>
#include <cairn/persistence.h>
#include <cairn/retention.h>
#include <cairn/store.h>

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

/// The store's administrative calls, for callers that must not block: each call returns at once, and its completion
/// receives the result.
///
/// Order: none. Each call is made by itself, and sees everything that was committed before it began.
/// Completions, cancellation, threads: like those of `StatePersistence`. A deadline is the store's own, and also ends a
///   call that has not begun by then (kUnavailable). `prune` and `delete_runs` only have a deadline for each
///   transaction. Once they have begun, `RetentionOptions::is_cancelled` stops them.
/// Lifetime: calls keep the store open. This object may be destroyed before they have ended.
/// Errors: those of the blocking calls of the same name.
class AsyncStore {
public:
    using Submitted = CallExecutor::Submitted;

    AsyncStore(std::shared_ptr<Store> store, std::shared_ptr<CallExecutor> executor)
        : store_(std::move(store)), executor_(std::move(executor)) {}

    Submitted stats(Deadline deadline, Completion<StoreStats> done) const;
    Submitted check(Deadline deadline, Completion<CheckReport> done) const;
    Submitted check_deep(Deadline deadline, const StateLimits& limits, Completion<CheckReport> done) const;
    Submitted prune(const RetentionPolicy& policy, const RetentionOptions& options,
                    Completion<RetentionReport> done) const;
    Submitted delete_runs(const DeletionTarget& target, const RetentionOptions& options,
                          Completion<RetentionReport> done) const;

    Submitted history(const HistoryQuery& query, Deadline deadline, Completion<std::vector<SnapshotInfo>> done) const;
    Submitted runs(const RunQuery& query, Deadline deadline, Completion<Page<RunInfo>> done) const;
    Submitted threads(const ThreadQuery& query, Deadline deadline, Completion<Page<ThreadInfo>> done) const;
    Submitted recovery_log(std::string_view run_id, std::size_t limit, Deadline deadline,
                           Completion<std::vector<RecoveryRecord>> done) const;

    Submitted close(Completion<void> done) const;

    const std::shared_ptr<Store>& store() const { return store_; }
    const std::shared_ptr<CallExecutor>& executor() const { return executor_; }

private:
    std::shared_ptr<Store> store_;
    std::shared_ptr<CallExecutor> executor_;
};

}  // namespace cairn
