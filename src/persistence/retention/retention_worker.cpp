#include "persistence/retention/retention_worker.h"

#include "base/backoff.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kHistoryPage = 1000;
constexpr int kUnknownOutcomesMax = 3;
constexpr std::uint64_t kChangeBytesMax = 8U << 20;  // limit of the held frames; the last one may exceed it

void add_counts(RetentionReport& total, const RetentionReport& more) {
    total.runs_deleted += more.runs_deleted;
    total.snapshots_deleted += more.snapshots_deleted;
    total.snapshots_rewritten += more.snapshots_rewritten;
    total.frame_bytes_deleted += more.frame_bytes_deleted;
    total.frame_bytes_added += more.frame_bytes_added;
}

std::unexpected<Error> changed_run_error(const OwnedRun& run) {
    return fail(ErrorCode::kConflict, fmt::format("run \"{}\" was changed meanwhile", run.run_id));
}

std::unexpected<Error> rewrite_error(const OwnedRun& run, const RetentionEntry& entry, Error cause) {
    return std::unexpected(
        Error{.code = cause.code,
              .message = fmt::format("snapshot {} (version {}) of run \"{}\" needs one that is to go and cannot be "
                                     "rewritten",
                                     entry.snapshot_id, entry.version, run.run_id),
              .cause = std::make_shared<const Error>(std::move(cause))});
}

}  // namespace

Status RetentionWorker::prune_run(const OwnedRun& run, const Mark& mark) {
    Status status = until_no_conflict(run, [&]() -> Status {
        Result<std::vector<RetentionEntry>> entries = read_entries(run);
        if (!entries) return std::unexpected(std::move(entries.error()));
        mark(*entries);
        return work_through(run, *entries);
    });
    ++report_.runs_examined;
    report_progress();
    return status;
}

Status RetentionWorker::delete_run(const OwnedRun& run) {
    Status status = until_no_conflict(run, [&]() -> Status {
        Result<std::vector<RetentionEntry>> entries = read_entries(run);
        if (!entries) return std::unexpected(std::move(entries.error()));
        if (entries->empty()) return {};
        if (entries->size() > options_.snapshots_per_commit) {
            mark_all_but_heads_chain(*entries);
            if (Status worked = work_through(run, *entries); !worked || report_.was_cancelled) return worked;
        }
        const RetentionEntry& head = entries->back();  // a run that lacks it at the commit is another run
        Change rest{.batch = {.run_id = run.run_id,
                              .run_deletion = RunDeletion{.version = head.version, .snapshot_id = head.snapshot_id}},
                    .report = {.runs_deleted = 1}};
        for (const RetentionEntry& entry : *entries) {
            if (entry.goes) continue;
            ++rest.report.snapshots_deleted;
            rest.report.frame_bytes_deleted += entry.frame_bytes;
        }
        return commit(rest);
    });
    ++report_.runs_examined;
    report_progress();
    return status;
}

Status RetentionWorker::reclaim() {
    if (options_.dry_run || report_.was_cancelled) return {};
    const Result<std::uint64_t> returned = store_.reclaim(until());
    if (!returned) return std::unexpected(returned.error());
    report_.store_bytes_returned += *returned;
    return {};
}

// Reads and plans again after each conflict with another writer, until the deadline.
Status RetentionWorker::until_no_conflict(const OwnedRun& run, const Attempt& attempt) {
    deadline_ = until();
    const RetentionReport before = report_;
    Backoff backoff(options_.runtime, Deadline::max());
    while (true) {
        if (options_.dry_run) report_ = before;
        Status status = attempt();
        if (status || status.error().code != ErrorCode::kConflict) return status;
        if (SteadyClock::now() < deadline_ && backoff.pause()) continue;
        return std::unexpected(
            Error{.code = ErrorCode::kUnavailable,
                  .message = fmt::format("other writers kept changing run \"{}\" until the deadline", run.run_id),
                  .cause = std::make_shared<const Error>(std::move(status.error()))});
    }
}

Result<std::vector<RetentionEntry>> RetentionWorker::read_entries(const OwnedRun& run) {
    HistoryQuery query{.run_id = run.run_id,
                       .thread_id = run.thread_id,
                       .user_id = run.user_id,
                       .order = HistoryQuery::Order::kOldestFirst,
                       .limit = kHistoryPage};
    std::vector<RetentionEntry> entries;
    while (true) {
        Result<std::vector<SnapshotInfo>> page = store_.history(query, until());
        if (!page) return std::unexpected(std::move(page.error()));
        for (SnapshotInfo& info : *page) entries.push_back(make_retention_entry(std::move(info)));
        if (page->size() < query.limit) return entries;
        query.after_version = entries.back().version;
    }
}

// After an error the change under way is dropped: the facts that it depends on may not hold.
Status RetentionWorker::work_through(const OwnedRun& run, std::span<const RetentionEntry> entries) {
    Change change{.batch = {.run_id = run.run_id}};
    last_base_.reset();
    for (const RetentionStep& step : plan_retention(entries)) {
        if (Status status = add(change, run, entries, step); !status) return status;
        if (!is_full(change)) continue;
        if (Status status = commit(change); !status || report_.was_cancelled) return status;
        change = {.batch = {.run_id = run.run_id}};
    }
    const bool is_empty = change.batch.deletions.empty() && change.batch.rewrites.empty();
    return is_empty ? Status{} : commit(change);
}

Status RetentionWorker::add(Change& change, const OwnedRun& run, std::span<const RetentionEntry> entries,
                            const RetentionStep& step) {
    const RetentionEntry& entry = entries[step.entry];
    change.report.frame_bytes_deleted += entry.frame_bytes;
    if (step.kind == RetentionStep::Kind::kDelete) {
        ++change.report.snapshots_deleted;
        change.batch.deletions.push_back({.version = entry.version, .snapshot_id = entry.snapshot_id});
        return {};
    }
    Result<EncodedState> encoded = encode(run, entry, step.base ? &entries[*step.base] : nullptr);
    if (!encoded) return std::unexpected(std::move(encoded.error()));
    ++change.report.snapshots_rewritten;
    change.report.frame_bytes_added += encoded->frame.size();
    change.bytes += encoded->frame.size();
    change.batch.rewrites.push_back({.version = entry.version,
                                     .base_version = encoded->base_version,
                                     .frame = std::move(encoded->frame),
                                     .snapshot_id = entry.snapshot_id,
                                     .checksum = encoded->checksum,
                                     .base_checksum = encoded->base_checksum});
    return {};
}

// If the base cannot be read, the snapshot becomes self-contained.
Result<EncodedState> RetentionWorker::encode(const OwnedRun& run, const RetentionEntry& entry,
                                             const RetentionEntry* base) {
    Result<State> state = load_state(run, entry);
    if (!state && is_unreadable(state.error())) return rewrite_error(run, entry, std::move(state.error()));
    if (!state) return std::unexpected(std::move(state.error()));
    if (base == nullptr) return encode_full(*state, FrameOptions{});
    Result<ChainedState> loaded_base = load(run, *base);
    if (!loaded_base && is_unreadable(loaded_base.error())) return encode_full(*state, FrameOptions{});
    if (!loaded_base) return std::unexpected(std::move(loaded_base.error()));
    last_base_ = DeltaBase{.state = std::move(loaded_base->state),
                           .version = base->version,
                           .snapshot_id = base->snapshot_id,
                           .checksum = loaded_base->info.checksum,
                           .chain = loaded_base->chain};
    return encode_against(*last_base_, *state, FrameOptions{}, options_.chain_limits);
}

// If every other snapshot goes, the base of one rewrite is the snapshot of the next rewrite. Its state is reused.
Result<State> RetentionWorker::load_state(const OwnedRun& run, const RetentionEntry& entry) {
    if (last_base_ && last_base_->snapshot_id == entry.snapshot_id) {
        State state = std::move(last_base_->state);
        last_base_.reset();
        return state;
    }
    Result<ChainedState> loaded = load(run, entry);
    if (!loaded) return std::unexpected(std::move(loaded.error()));
    return std::move(loaded->state);
}

Result<ChainedState> RetentionWorker::load(const OwnedRun& run, const RetentionEntry& entry) {
    Result<ChainedState> loaded = load_snapshot(
        store_,
        {.run_id = run.run_id, .snapshot_id = entry.snapshot_id, .thread_id = run.thread_id, .user_id = run.user_id},
        options_.state_limits, until());
    const bool is_gone = loaded ? loaded->info.version != entry.version : loaded.error().code == ErrorCode::kNotFound;
    if (is_gone) return changed_run_error(run);
    return loaded;
}

bool RetentionWorker::is_full(const Change& change) const {
    const std::size_t snapshots = change.batch.deletions.size() + change.batch.rewrites.size();
    return snapshots >= options_.snapshots_per_commit || change.bytes >= kChangeBytesMax;
}

Status RetentionWorker::commit(const Change& change) {
    last_base_.reset();  // other writers may change the run before the next transaction
    if (is_cancelled()) return {};
    if (!options_.dry_run) {
        const bool has_pieces = change.batch.rewrites.size() + change.batch.deletions.size() > 1;
        Status status = apply(change.batch);
        if (!status && status.error().code == ErrorCode::kStorageFull && has_pieces) {
            status = apply_in_pieces(change.batch);
        }
        if (!status) return status;
    }
    add_counts(report_, change.report);
    report_progress();
    return {};
}

// On a full volume a small transaction may fit where a large one does not. A snapshot is deleted before its base.
Status RetentionWorker::apply_in_pieces(const RunBatch& batch) {
    for (const FrameRewrite& rewrite : batch.rewrites) {
        if (Status status = apply({.run_id = batch.run_id, .rewrites = {rewrite}}); !status) return status;
    }
    std::vector<SnapshotDeletion> deletions = batch.deletions;
    std::ranges::sort(deletions, std::greater(), &SnapshotDeletion::version);
    for (const SnapshotDeletion& deletion : deletions) {
        if (Status status = apply({.run_id = batch.run_id, .deletions = {deletion}}); !status) return status;
    }
    if (!batch.run_deletion) return {};
    return apply({.run_id = batch.run_id, .run_deletion = batch.run_deletion});
}

// Deleting or rewriting a second time changes nothing, so a commit with an unknown outcome is made again.
Status RetentionWorker::apply(const RunBatch& batch) {
    const Deadline deadline = until();
    Backoff backoff(options_.runtime, deadline);
    Status status;
    for (int tries = 0; tries < kUnknownOutcomesMax; ++tries) {
        status = commit_run(store_, batch, deadline);
        if (status || status.error().code != ErrorCode::kOutcomeUnknown || !backoff.pause()) break;
    }
    if (status) deadline_ = until();
    return status;
}

bool RetentionWorker::is_cancelled() {
    if (!report_.was_cancelled && options_.is_cancelled) report_.was_cancelled = options_.is_cancelled();
    return report_.was_cancelled;
}

void RetentionWorker::report_progress() const {
    if (!options_.progress) return;
    options_.progress(
        {.runs_done = report_.runs_examined, .runs = runs_expected_, .snapshots_deleted = report_.snapshots_deleted});
}

}  // namespace cairn
