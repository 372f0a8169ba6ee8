#include "persistence/save/landing.h"

#include "persistence/guarded.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cairn {
namespace {

// The version of the head that the save was prepared on.
std::int64_t prepared_on(const PendingSave& save) {
    return save.job.becomes->info.version - 1;
}

/// The head that a save finds behind the one that it follows.
struct Ground {
    const Landing& landing;    ///< Of the newest save before it that was not dropped.
    std::int64_t dropped = 0;  ///< The number of dropped saves up to it that were prepared one on top of the other.
};

// The save must follow another one.
Ground ground_of(const SaveAttempt& attempt) {
    const Landing* landing = attempt.follows.get();
    std::int64_t dropped = attempt.dropped_before;
    for (; landing->instead; landing = landing->instead.get()) dropped += landing->dropped;
    return {.landing = *landing, .dropped = dropped + landing->dropped};
}

// The version that the head must have. A caller that asked for a conflict with other writers gets none for saves of
// this service that were dropped. It gets one if others saved in between, whatever number the head has now.
std::int64_t wanted_version(const PendingSave& save, const Ground& ground) {
    const StatePersistenceRequest& request = save.job.request;
    if (request.on_conflict != OnConflict::kFail) return ground.landing.version;
    return request.expected_version ? prepared_on(save) : prepared_on(save) - ground.dropped;
}

// Without its parent, the save is not moved: the store is asked for the parent, and has none.
bool has_its_parent(const PendingSave& save, const Ground& ground) {
    const std::optional<std::string>& parent = save.job.request.parent_snapshot_id;
    return !parent || *parent == ground.landing.snapshot_id;
}

bool has_its_base(const SaveAttempt& attempt, const Ground& ground) {
    const SnapshotWrite& write = attempt.write.write;
    return write.snapshot.info.base_version == 0 || write.base_snapshot_id == ground.landing.snapshot_id;
}

// Takes all memory first: a save is moved as a whole or not at all.
Status put_on(PendingSave& save, std::int64_t version, bool has_base) {
    const StatePersistenceRequest& request = save.job.request;
    PreparedWrite& prepared = save.attempt.write;
    SnapshotInfo& info = prepared.write.snapshot.info;
    const auto head = std::make_shared<CachedHead>(
        CachedHead{.info = info, .state = request.state_data, .chain = save.lands_as().chain});
    if (!has_base) {
        const Result<ChainCost> whole = SnapshotWriter::make_whole(prepared.write, request.state_data);
        if (!whole) return std::unexpected(whole.error());
        head->chain = *whole;
    }
    if (info.base_version != 0) info.base_version = version;
    if (prepared.parent_version) prepared.parent_version = version;
    if (prepared.required_version && !request.expected_version) prepared.required_version = version;
    SnapshotWriter::put_after(prepared.write, version, prepared.parent_version);
    head->info.version = info.version;
    head->info.parent_version = info.parent_version;
    head->info.base_version = info.base_version;
    head->info.frame_bytes = info.frame_bytes;
    save.attempt.lands_elsewhere = head;
    return {};
}

Status put_on(PendingSave& save, const Ground& ground) {
    if (!ground.landing.is_known || !has_its_parent(save, ground)) return {};
    const std::int64_t version = wanted_version(save, ground);
    const bool has_base = has_its_base(save.attempt, ground);
    if (version == save.attempt.write.write.expected_version && has_base) return {};
    return put_on(save, version, has_base);
}

bool is_known_to_have_failed(const Error& error) {
    return error.code != ErrorCode::kOutcomeUnknown && error.code != ErrorCode::kInternal;
}

}  // namespace

Status put_on_what_is_there(PendingSave& save) {
    return guarded([&]() -> Status {
        const SaveAttempt& attempt = save.attempt;
        std::int64_t dropped = 0;
        if (attempt.follows) {
            const Ground ground = ground_of(attempt);
            dropped = ground.dropped;
            if (Status status = put_on(save, ground); !status) return status;
        }
        // True as long as nothing else is known.
        Landing& landing = *attempt.landing;
        landing.snapshot_id = save.lands_as().info.snapshot_id;  // first, since it may take memory
        landing.version = save.lands_as().info.version;
        landing.dropped = dropped;
        landing.is_known = true;
        return {};
    });
}

void note_landing(PendingSave& save) noexcept {
    const Result<Receipt>& result = *save.attempt.result;
    Landing& landing = *save.attempt.landing;
    if (result && result->outcome != Outcome::kDeduplicated) {
        landing.version = result->version;
    } else if (result || !is_known_to_have_failed(result.error())) {
        landing.is_known = false;
    } else {
        note_dropped(save);
    }
}

void note_dropped(PendingSave& save) noexcept {
    const SaveAttempt& attempt = save.attempt;
    Landing& landing = *attempt.landing;
    landing.is_known = !attempt.may_be_applied();
    if (!landing.is_known) return;
    landing.dropped = attempt.dropped_before + 1;
    if (!attempt.follows) {
        landing.version = prepared_on(save);
        landing.snapshot_id = std::move(save.attempt.write.write.base_snapshot_id);  // it is not committed any more
        return;
    }
    landing.instead = attempt.follows;
    // This thread commits the saves before it, too, so that they do not change meanwhile.
    while (landing.instead->instead) {
        landing.dropped += landing.instead->dropped;
        landing.instead = landing.instead->instead;
    }
}

void hand_over(PendingSave& left, PendingSave& behind) noexcept {
    const SaveAttempt& attempt = left.attempt;
    if (!attempt.follows || attempt.may_be_applied()) return note_dropped(left);
    behind.attempt.dropped_before += attempt.dropped_before + 1;
    behind.attempt.follows = attempt.follows;
}

}  // namespace cairn
