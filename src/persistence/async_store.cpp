#include <cairn/async_store.h>

#include <cairn/persistence.h>

#include <exception>
#include <string>
#include <utility>

namespace cairn {
namespace {

using Submitted = CallExecutor::Submitted;

/// Asks the store with copies of what is given.
template <class T, class Ask, class... Given>
Submitted make(const AsyncStore& of, Deadline deadline, const Completion<T>& done, Ask ask, const Given&... given) {
    try {
        return of.executor()->call(
            "", deadline, [store = of.store(), ask, given...] { return ask(*store, given...); }, done);
    } catch (const std::exception&) {
        tell<T>(done, std::unexpected(caught_error()));
        return {};
    }
}

}  // namespace

Submitted AsyncStore::stats(Deadline deadline, Completion<StoreStats> done) const {
    return make(*this, deadline, done, [deadline](Store& store) { return store.stats(deadline); });
}

Submitted AsyncStore::check(Deadline deadline, Completion<CheckReport> done) const {
    return make(*this, deadline, done, [deadline](Store& store) { return store.check(deadline); });
}

Submitted AsyncStore::check_deep(Deadline deadline, const StateLimits& limits, Completion<CheckReport> done) const {
    return make(
        *this, deadline, done,
        [deadline](Store& store, const StateLimits& given) { return cairn::check_deep(store, deadline, given); },
        limits);
}

Submitted AsyncStore::prune(const RetentionPolicy& policy, const RetentionOptions& options,
                            Completion<RetentionReport> done) const {
    return make(*this, Deadline::max(), done, &cairn::prune, policy, options);
}

Submitted AsyncStore::delete_runs(const DeletionTarget& target, const RetentionOptions& options,
                                  Completion<RetentionReport> done) const {
    return make(*this, Deadline::max(), done, &cairn::delete_runs, target, options);
}

Submitted AsyncStore::history(const HistoryQuery& query, Deadline deadline,
                              Completion<std::vector<SnapshotInfo>> done) const {
    return make(
        *this, deadline, done,
        [deadline](Store& store, const HistoryQuery& given) { return store.history(given, deadline); }, query);
}

Submitted AsyncStore::runs(const RunQuery& query, Deadline deadline, Completion<Page<RunInfo>> done) const {
    return make(
        *this, deadline, done, [deadline](Store& store, const RunQuery& given) { return store.runs(given, deadline); },
        query);
}

Submitted AsyncStore::threads(const ThreadQuery& query, Deadline deadline, Completion<Page<ThreadInfo>> done) const {
    return make(
        *this, deadline, done,
        [deadline](Store& store, const ThreadQuery& given) { return store.threads(given, deadline); }, query);
}

Submitted AsyncStore::recovery_log(std::string_view run_id, std::size_t limit, Deadline deadline,
                                   Completion<std::vector<RecoveryRecord>> done) const {
    return make(
        *this, deadline, done,
        [=](Store& store, const std::string& run) { return store.recovery_log(run, limit, deadline); },
        std::string(run_id));
}

Submitted AsyncStore::close(Completion<void> done) const {
    return make(*this, Deadline::max(), done, [](Store& store) { return store.close(); });
}

}  // namespace cairn
