#include "persistence/save/save_preparer.h"

#include "persistence/reading/snapshot_reader.h"
#include "persistence/save/request_rules.h"

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

Head head_of(const CachedHead& cached) {
    const SnapshotInfo& info = cached.info;
    return {.thread_id = info.thread_id,
            .user_id = info.user_id,
            .snapshot_id = info.snapshot_id,
            .version = info.version,
            .state_bytes = info.state_bytes,
            .checksum = info.checksum,
            .expires_at = info.expires_at};
}

// The result of `other` says nothing about `one` if their leases differ, if only one of them takes another writer's
// head for a conflict, or if `other` has an id of its own, which may be taken.
bool can_share_fate(const StatePersistenceRequest& one, const StatePersistenceRequest& other) {
    return one.lease == other.lease && one.on_conflict == other.on_conflict && other.snapshot_id.empty();
}

Result<std::optional<DeltaBase>> head_base(const std::shared_ptr<const CachedHead>& head) {
    if (!head) return std::nullopt;
    return DeltaBase{.state = head->state,
                     .version = head->info.version,
                     .snapshot_id = head->info.snapshot_id,
                     .checksum = head->info.checksum,
                     .chain = head->chain};
}

}  // namespace

Result<PreparedSave> SavePreparer::prepare(const StatePersistenceRequest& request, std::string& new_id,
                                           Deadline deadline, bool may_replace) {
    Result<Found> found = find_head(request, deadline);
    if (!found) return std::unexpected(std::move(found.error()));
    const bool may_follow = !found->pending || can_share_fate(request, found->pending->job.request);
    if (found->is_repeated && may_follow) {
        if (found->pending) return SharedSave{.twin = std::move(found->pending)};
        return skip(request, std::move(*found->head), deadline);
    }
    Save replaced;
    std::string id;  // of a queued save that is replaced only if this one can be made
    if (may_replace && found->pending && may_follow && found->pending->job.is_replaceable && is_replaceable(request)) {
        replaced = std::exchange(found->pending, nullptr);
        id = replaced->job.becomes->info.snapshot_id;
        --found->head->version;  // the head before it, which has the same owner
        found->known = replaced->job.base;
    } else {
        id = new_id = core_.snapshot_id(request);
    }
    Result<Save> save = make_save(request, id, *found, deadline);
    if (!save) return std::unexpected(std::move(save.error()));
    return NewSave{.save = std::move(*save), .replaces = std::move(replaced)};
}

Result<PreparedSave> SavePreparer::skip(const StatePersistenceRequest& request, Head head, Deadline deadline) const {
    if (Status status = core_.writer->check_lease(request, deadline); !status) return std::unexpected(status.error());
    core_.writer->seen().note(request.run_id, head.version);
    return SkippedSave{
        {.snapshot_id = std::move(head.snapshot_id), .outcome = Outcome::kDeduplicated, .version = head.version}};
}

Result<SavePreparer::Found> SavePreparer::find_head(const StatePersistenceRequest& request, Deadline deadline) {
    Result<Save> pending = find_pending(request, deadline);
    if (!pending) return std::unexpected(std::move(pending.error()));
    if (*pending) {
        Found found{.known = (*pending)->job.becomes, .pending = std::move(*pending)};
        found.head = head_of(*found.known);
        found.is_repeated = is_repeated(request, found.known);
        if (Status status = check_head(request, found); !status) return std::unexpected(std::move(status.error()));
        return found;
    }
    Found cached{.known = cache_.find(request.run_id)};
    cached.is_repeated = is_repeated(request, cached.known);
    if (can_expect(request, cached)) return cached;
    return ask_for_head(request, cached, deadline);
}

// Says whether the cached head can be used without asking the store. It may be outdated without harm if the save adds
// to it: the save is written, and the commit checks that the head is still this one. Before a state is skipped or
// refused, the store is asked.
bool SavePreparer::can_expect(const StatePersistenceRequest& request, Found& cached) {
    if (!cached.known || cached.is_repeated) return false;
    if (request.parent_snapshot_id || request.on_conflict == OnConflict::kFail) return false;
    cached.head = head_of(*cached.known);
    if (!check_head(request, cached)) return false;
    if (!request.is_critical()) stats_.count_lookup(true);
    return true;
}

Result<SavePreparer::Found> SavePreparer::ask_for_head(const StatePersistenceRequest& request, const Found& cached,
                                                       Deadline deadline) {
    Result<std::optional<Head>> head = core_.store->head(request.run_id, deadline);
    if (!head) return std::unexpected(std::move(head.error()));
    Found found{.head = std::move(*head)};
    if (Status status = check_head(request, found); !status) return std::unexpected(std::move(status.error()));
    if (!found.head || request.is_critical()) return found;
    const bool is_current = cached.known && cached.known->is(*found.head);
    stats_.count_lookup(is_current);
    if (is_current) {
        found.known = cached.known;
        found.is_repeated = cached.is_repeated;
        return found;
    }
    Result<KnownHead> known = read_head(request, *found.head, deadline);
    if (!known) return std::unexpected(std::move(known.error()));
    found.known = std::move(*known);
    found.is_repeated = is_repeated(request, found.known);
    return found;
}

SkipRule SavePreparer::skip_rule() const {
    if (!deduplication) return SkipRule::kNever;
    return ignores_key_order ? SkipRule::kSameJson : SkipRule::kSameBytes;
}

bool SavePreparer::is_repeated(const StatePersistenceRequest& request, const KnownHead& head) const {
    return head && repeats(request, head->info, head->state, skip_rule());
}

Status SavePreparer::check_head(const StatePersistenceRequest& request, const Found& found) const {
    return SnapshotWriter::check_head(request, found.head, required_version(request, found));
}

// Returns the newest save of the run that is under way. If the request names another parent, waits until that can be
// read from the store, and returns none.
Result<Save> SavePreparer::find_pending(const StatePersistenceRequest& request, Deadline deadline) {
    Save pending = batcher_.newest(request.run_id);
    if (!pending || !request.parent_snapshot_id) return pending;
    if (*request.parent_snapshot_id == pending->job.becomes->info.snapshot_id) return pending;
    if (Status status = batcher_.drain(request.run_id, deadline); !status) {
        return std::unexpected(std::move(status.error()));
    }
    return nullptr;
}

// A save that this service has queued counts as seen by it.
std::optional<std::int64_t> SavePreparer::required_version(const StatePersistenceRequest& request,
                                                           const Found& found) const {
    const bool is_own = found.pending && request.on_conflict == OnConflict::kFail && !request.expected_version;
    return is_own ? found.head->version : core_.writer->required_version(request);
}

// Reads the state of the store's head. Null if the head is gone, or if its state is not needed: without deltas, only a
// state of the same length is worth a comparison.
Result<SavePreparer::KnownHead> SavePreparer::read_head(const StatePersistenceRequest& request, const Head& head,
                                                        Deadline deadline) {
    if (!compression && head.state_bytes != request.state_data.size_bytes()) return nullptr;
    Result<ChainedState> loaded =
        load_snapshot(*core_.store, {.run_id = request.run_id, .snapshot_id = head.snapshot_id},
                      core_.options.state_limits, deadline);
    if (!loaded && loaded.error().code == ErrorCode::kNotFound) return nullptr;  // deleted since
    if (!loaded) return std::unexpected(std::move(loaded.error()));
    cache_.forget(request.run_id);  // the cached head is another one, perhaps of a deleted run
    return cache_.put(cached_head(std::move(*loaded)));
}

Result<Save> SavePreparer::make_save(const StatePersistenceRequest& request, const std::string& snapshot_id,
                                     const Found& found, Deadline deadline) const {
    std::optional<std::int64_t> parent_version;
    Result<EncodedState> encoded = encode(request, found, parent_version, deadline);
    if (!encoded) return std::unexpected(std::move(encoded.error()));
    const ChainCost chain = encoded->chain;
    const Durability wanted = wanted_durability(request);
    const bool is_acknowledged = wanted != Durability::kSync;
    PreparedWrite write =
        SnapshotWriter::prepare(request, snapshot_id, core_.options.runtime.clock->now(), std::move(*encoded),
                                found.head ? found.head->version : 0, parent_version);
    write.required_version = required_version(request, found);
    write.skip = skip_rule();
    // The caller's own timeout is for a place in the queue, and ends with the acknowledgement.
    const Deadline until = is_acknowledged ? std::max(deadline, core_.deadline({})) : deadline;
    SaveAttempt attempt{.write = std::move(write), .deadline = until, .is_alone = request.is_critical()};
    if (found.pending) attempt.follows = found.pending->attempt.landing;
    const Snapshot& snapshot = attempt.write.write.snapshot;
    SaveJob job{.request = request,
                .becomes = std::make_shared<const CachedHead>(
                    CachedHead{.info = snapshot.info, .state = request.state_data, .chain = chain}),
                .patience = core_.options.timeout,
                .is_held = wanted == Durability::kExit,
                .is_replaceable = is_replaceable(request)};
    job.bytes = snapshot.frame.size() + job.becomes->bytes();
    if (job.is_replaceable && found.known) {
        job.base = found.known;
        job.bytes += job.base->bytes();
    }
    return std::make_shared<PendingSave>(std::move(job), std::move(attempt), is_acknowledged);
}

// Encodes against the older snapshot that the request asks to grow from, or else against the head.
Result<EncodedState> SavePreparer::encode(const StatePersistenceRequest& request, const Found& found,
                                          std::optional<std::int64_t>& parent_version, Deadline deadline) const {
    const Result<std::optional<Snapshot>> fork = core_.parent(request, found.head, deadline);
    if (!fork) return std::unexpected(fork.error());
    parent_version = ServiceCore::parent_version(request, *fork, found.head);
    const FrameOptions frame_options{.compression = compression};
    if (request.is_critical() || !compression) return encode_full(request.state_data, frame_options);
    Result<std::optional<DeltaBase>> base = *fork ? fork_base(**fork) : head_base(found.known);
    if (!base) return std::unexpected(std::move(base.error()));
    return *base ? encode_against(**base, request.state_data, frame_options, chain_limits_)
                 : encode_full(request.state_data, frame_options);
}

Result<std::optional<DeltaBase>> SavePreparer::fork_base(const Snapshot& snapshot) const {
    Result<State> state = decode_snapshot(snapshot, core_.options.state_limits);
    if (!state) return std::unexpected(std::move(state.error()));
    const Result<ChainCost> chain = chain_cost(snapshot);
    if (!chain) return std::unexpected(chain.error());
    return DeltaBase{.state = std::move(*state),
                     .version = snapshot.info.version,
                     .snapshot_id = snapshot.info.snapshot_id,
                     .checksum = snapshot.info.checksum,
                     .chain = *chain};
}

bool SavePreparer::is_replaceable(const StatePersistenceRequest& request) const {
    return latest_only_ && wanted_durability(request) != Durability::kSync && request.snapshot_id.empty() &&
           !request.parent_snapshot_id && !request.metadata && request.on_conflict == OnConflict::kRebase;
}

}  // namespace cairn
