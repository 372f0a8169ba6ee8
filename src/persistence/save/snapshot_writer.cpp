#include "persistence/save/snapshot_writer.h"

#include "base/backoff.h"
#include "persistence/guarded.h"
#include "persistence/reading/snapshot_reader.h"
#include "persistence/save/request_rules.h"
#include "persistence/save/save_errors.h"
#include "store/batch_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace cairn {
namespace {

constexpr int kUnknownOutcomesMax = 3;

// A short time: if the store takes one commit at a time, a save that is tried again keeps other runs waiting.
constexpr std::chrono::milliseconds kConflictPause{4};
constexpr std::chrono::milliseconds kLookUpPatience{1000};

bool has_passed(Deadline deadline) {
    return std::chrono::steady_clock::now() >= deadline;
}

std::unexpected<Error> moving_head_error(const std::string& run_id) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("other writers kept moving the head of run \"{}\" until the deadline", run_id));
}

Snapshot make_snapshot(const StatePersistenceRequest& request, const std::string& snapshot_id, Timestamp created_at,
                       EncodedState encoded) {
    SnapshotInfo info{
        .run_id = request.run_id,
        .thread_id = request.thread_id,
        .user_id = request.user_id,
        .snapshot_id = snapshot_id,
        .checkpoint_type = request.checkpoint_type,
        .agent_phase = request.agent_phase,
        .is_recovery_point = request.is_recovery_point,
        .created_at = created_at,
        .expires_at = request.expires_at,
        .state_type = std::string(request.state_data.type_tag()),
        .state_bytes = request.state_data.size_bytes(),
        .frame_bytes = encoded.frame.size(),
        .checksum = encoded.checksum,
        .base_version = encoded.base_version,
    };
    if (request.execution_context) info.execution_context = request.execution_context->text();
    if (request.metadata) info.metadata = request.metadata->text();
    return {.info = std::move(info), .frame = std::move(encoded.frame)};
}

// Says whether the base that `write` needs cannot be there any more, with the run's head at `version`. Either the base
// was the head itself, and the head went back or is now another, or the store has just refused a write on top of this
// very head.
bool has_lost_its_base(const SnapshotWrite& write, std::int64_t version) {
    const std::int64_t base_version = write.snapshot.info.base_version;
    return base_version != 0 && (version < base_version || version == write.expected_version);
}

}  // namespace

PreparedWrite SnapshotWriter::prepare(const StatePersistenceRequest& request, const std::string& snapshot_id,
                                      Timestamp created_at, EncodedState encoded, std::int64_t head_version,
                                      std::optional<std::int64_t> parent_version) {
    PreparedWrite prepared{.write = {.snapshot = {},
                                     .base_snapshot_id = std::move(encoded.base_snapshot_id),
                                     .base_checksum = encoded.base_checksum,
                                     .lease = request.lease},
                           .parent_version = parent_version,
                           .required_version = {}};
    prepared.write.snapshot = make_snapshot(request, snapshot_id, created_at, std::move(encoded));
    put_after(prepared.write, head_version, prepared.parent_version);
    return prepared;
}

void SnapshotWriter::put_after(SnapshotWrite& write, std::int64_t version, std::optional<std::int64_t> parent_version) {
    write.expected_version = version;
    write.snapshot.info.version = version + 1;
    write.snapshot.info.parent_version = parent_version.value_or(version);
}

Result<ChainCost> SnapshotWriter::make_whole(SnapshotWrite& write, const State& state) {
    Result<EncodedState> whole = encode_full(state, {});
    if (!whole) return std::unexpected(std::move(whole.error()));
    write.snapshot.info.base_version = 0;
    write.snapshot.info.frame_bytes = whole->frame.size();
    write.snapshot.frame = std::move(whole->frame);
    write.base_snapshot_id.clear();
    write.base_checksum.reset();
    return whole->chain;
}

Result<Receipt> SnapshotWriter::write(const StatePersistenceRequest& request, PreparedWrite prepared, Deadline deadline,
                                      std::optional<Error> answer) {
    RunBatch batch{.run_id = request.run_id};
    batch.writes.push_back(std::move(prepared.write));
    SnapshotWrite& write = batch.writes.front();
    Backoff backoff(runtime_, deadline, kConflictPause);
    for (bool is_first_conflict = true;; is_first_conflict = false) {
        Result<std::optional<Committed>> committed =
            commit(batch, request.state_data, deadline, std::exchange(answer, std::nullopt));
        if (!committed) return std::unexpected(std::move(committed.error()));
        if (*committed) {
            // A snapshot that was there before may have been the head long ago.
            const bool is_head = (*committed)->version == write.snapshot.info.version;
            if (is_head) seen_.note(request.run_id, (*committed)->version);
            return Receipt{.snapshot_id = std::move(write.snapshot.info.snapshot_id),
                           .version = (*committed)->version,
                           .frame_bytes = (*committed)->frame_bytes};
        }
        // The pause comes before the head is read, so that the head does not grow old.
        if (!is_first_conflict && !backoff.pause()) return moving_head_error(request.run_id);
        Result<std::optional<Head>> head = rebase(request, prepared, write, deadline);
        if (!head) return refuse(request, write.snapshot.info.snapshot_id, std::move(head.error()), deadline);
        if (*head && is_repetition(request, **head, prepared.skip, deadline)) {
            seen_.note(request.run_id, (*head)->version);
            return Receipt{.snapshot_id = std::move((*head)->snapshot_id),
                           .outcome = Outcome::kDeduplicated,
                           .version = (*head)->version};
        }
        if (has_passed(deadline)) return moving_head_error(request.run_id);
    }
}

Result<Receipt> SnapshotWriter::refuse(const StatePersistenceRequest& request, const std::string& snapshot_id,
                                       Error error, Deadline deadline) {
    if (error.code != ErrorCode::kConflict || snapshot_id.empty()) return std::unexpected(std::move(error));
    const SnapshotInfo own{.run_id = request.run_id, .snapshot_id = snapshot_id};
    const Result<std::optional<Committed>> found = look_up(own, request.state_data, deadline);
    if (!found) return std::unexpected(found.error());
    if (!*found) return std::unexpected(std::move(error));
    const auto& [version, frame_bytes] = **found;
    if (version > seen_.find(request.run_id).value_or(0)) seen_.note(request.run_id, version);
    return Receipt{.snapshot_id = snapshot_id, .version = version, .frame_bytes = frame_bytes};
}

// Puts the write on top of the current head, and returns that head.
Result<std::optional<Head>> SnapshotWriter::rebase(const StatePersistenceRequest& request, PreparedWrite& prepared,
                                                   SnapshotWrite& write, Deadline deadline) {
    Result<std::optional<Head>> head = store_->head(request.run_id, deadline);
    if (!head) return head;
    if (Status status = check_head(request, *head, prepared.required_version); !status) {
        return std::unexpected(std::move(status.error()));
    }
    if (Status status = check_lease(request, deadline); !status) return std::unexpected(std::move(status.error()));
    const std::int64_t version = *head ? (*head)->version : 0;
    if (has_lost_its_base(write, version)) {
        if (Result<ChainCost> whole = make_whole(write, request.state_data); !whole) {
            return std::unexpected(std::move(whole.error()));
        }
    }
    if (request.parent_snapshot_id) {
        const Result<std::int64_t> parent = version_of_parent(request, deadline);
        if (!parent) return std::unexpected(parent.error());
        prepared.parent_version = *parent;
    }
    put_after(write, version, prepared.parent_version);
    return head;
}

// Asks the store, because a parent that was queued before this save may itself have been re-based.
Result<std::int64_t> SnapshotWriter::version_of_parent(const StatePersistenceRequest& request, Deadline deadline) {
    const Result<std::optional<Snapshot>> parent = store_->get(request.run_id, *request.parent_snapshot_id, deadline);
    if (!parent) return std::unexpected(parent.error());
    if (*parent) return (*parent)->info.version;
    return no_parent_error(request);
}

// A head that cannot be read is no repetition: the save is written anew.
bool SnapshotWriter::is_repetition(const StatePersistenceRequest& request, const Head& head, SkipRule rule,
                                   Deadline deadline) {
    if (rule == SkipRule::kNever || head.state_bytes != request.state_data.size_bytes()) return false;
    const Result<ChainedState> loaded =
        load_snapshot(*store_, {.run_id = request.run_id, .snapshot_id = head.snapshot_id}, limits_, deadline);
    return loaded && repeats(request, loaded->info, loaded->state, rule);
}

std::optional<std::int64_t> SnapshotWriter::required_version(const StatePersistenceRequest& request) const {
    if (request.on_conflict != OnConflict::kFail) return std::nullopt;
    return request.expected_version ? request.expected_version : seen_.find(request.run_id);
}

Status SnapshotWriter::check_head(const StatePersistenceRequest& request, const std::optional<Head>& head,
                                  std::optional<std::int64_t> required_version) {
    if (head) {
        if (Status status = check_owner(request, *head); !status) return status;
        if (Status status = check_can_grow(request.run_id, head->version); !status) return status;
    }
    const std::int64_t version = head ? head->version : 0;
    if (!required_version || *required_version == version) return {};
    return fail(ErrorCode::kConflict,
                fmt::format("the head of run \"{}\" is at version {}, not at {}{}", request.run_id, version,
                            *required_version, version > *required_version ? ": another writer saved it" : ""));
}

Status SnapshotWriter::check_lease(const StatePersistenceRequest& request, Deadline deadline) const {
    if (!request.lease) return {};
    const Result<std::optional<LeaseInfo>> found = store_->lease(request.run_id, deadline);
    if (!found) return std::unexpected(found.error());
    const Lease current = *found ? (*found)->lease : Lease{};
    if (current == *request.lease) return {};
    return executed_by_another_error(request.run_id, *request.lease, current);
}

Result<std::optional<SnapshotWriter::Committed>> SnapshotWriter::commit(const RunBatch& batch, const State& state,
                                                                        Deadline deadline,
                                                                        std::optional<Error> answer) {
    const Snapshot& snapshot = batch.writes.front().snapshot;
    Backoff backoff(runtime_, deadline);
    for (int unknown_outcomes = 0;;) {
        Status status = answer ? Status(std::unexpected(*std::exchange(answer, {})))
                               : guarded([&] { return commit_run(*store_, batch, deadline); });
        if (status) return Committed{.version = snapshot.info.version, .frame_bytes = snapshot.frame.size()};
        const ErrorCode code = status.error().code;
        const bool is_resolvable =
            code == ErrorCode::kOutcomeUnknown || code == ErrorCode::kAlreadyExists || code == ErrorCode::kConflict;
        // Once an outcome was unknown, a look-up that finds nothing proves nothing: the log may hold the save.
        if (!is_resolvable && unknown_outcomes != 0)
            return in_doubt_error(snapshot.info.snapshot_id, std::move(status.error()));
        if (!is_resolvable) return std::unexpected(std::move(status.error()));
        if (code == ErrorCode::kConflict && unknown_outcomes == 0) return std::nullopt;

        Result<std::optional<Committed>> found = guarded([&] { return look_up(snapshot.info, state, deadline); });
        if (!found && found.error().code == ErrorCode::kAlreadyExists) return found;
        if (!found) return in_doubt_error(snapshot.info.snapshot_id, std::move(found.error()));
        if (*found) return found;
        if (code == ErrorCode::kConflict) return std::nullopt;
        if (++unknown_outcomes == kUnknownOutcomesMax || !backoff.pause()) {
            return in_doubt_error(snapshot.info.snapshot_id, std::move(status.error()));
        }
    }
}

// Looks the snapshot's id up: nothing, this very state, or (kAlreadyExists) another one. Asks again for a while, since
// it is worth waiting to know whether a save is there.
Result<std::optional<SnapshotWriter::Committed>> SnapshotWriter::look_up(const SnapshotInfo& info, const State& state,
                                                                         Deadline deadline) {
    Backoff backoff(runtime_, std::min(deadline, std::chrono::steady_clock::now() + kLookUpPatience));
    while (true) {
        Result<std::optional<Committed>> found = look_up_once(info, state, deadline);
        if (found || found.error().code != ErrorCode::kUnavailable || !backoff.pause()) return found;
    }
}

Result<std::optional<SnapshotWriter::Committed>> SnapshotWriter::look_up_once(const SnapshotInfo& info,
                                                                              const State& state, Deadline deadline) {
    Result<std::optional<Snapshot>> stored = store_->get(info.run_id, info.snapshot_id, deadline);
    if (!stored) return std::unexpected(std::move(stored.error()));
    if (!*stored) return std::nullopt;
    if ((*stored)->info.state_bytes == state.size_bytes() && (*stored)->info.checksum == state.checksum()) {
        const Result<State> stored_state = decode_snapshot(**stored, limits_);
        if (!stored_state) return std::unexpected(stored_state.error());
        if (*stored_state == state) {
            return Committed{.version = (*stored)->info.version, .frame_bytes = (*stored)->frame.size()};
        }
    }
    return fail(ErrorCode::kAlreadyExists,
                fmt::format("snapshot_id is \"{}\": run \"{}\" already has a snapshot of this id with another state",
                            info.snapshot_id, info.run_id));
}

}  // namespace cairn
