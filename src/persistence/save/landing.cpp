#include "persistence/save/landing.h"

#include "persistence/guarded.h"

#include <optional>
#include <string_view>
#include <utility>

namespace cairn {
namespace {

// The version of the head that the save was prepared on.
std::int64_t prepared_on(const PendingSave& save) {
    return save.job.becomes->info.version - 1;
}

std::int64_t dropped_before(const SaveAttempt& attempt) {
    return attempt.dropped_before + (attempt.follows ? attempt.follows->dropped : 0);
}

// The version that the head must have. A caller that asked for a conflict with other writers gets none for saves of
// this service that were dropped. It gets one if others saved in between, whatever number the head has now.
std::int64_t wanted_version(const PendingSave& save) {
    const StatePersistenceRequest& request = save.job.request;
    if (request.on_conflict != OnConflict::kFail) return save.attempt.follows->version;
    return request.expected_version ? prepared_on(save) : prepared_on(save) - dropped_before(save.attempt);
}

// Without its parent, the save is not moved: the store is asked for the parent, and has none.
bool has_its_parent(const PendingSave& save) {
    const std::optional<std::string>& parent = save.job.request.parent_snapshot_id;
    return !parent || *parent == save.attempt.follows->snapshot_id;
}

bool has_its_base(const SaveAttempt& attempt) {
    const SnapshotWrite& write = attempt.write.write;
    return write.snapshot.info.base_version == 0 || write.base_snapshot_id == attempt.follows->snapshot_id;
}

void set(Landing& landing, std::int64_t version, std::string_view snapshot_id, std::int64_t dropped) {
    landing.is_known = true;
    landing.version = version;
    landing.snapshot_id = snapshot_id;
    landing.dropped = dropped;
}

Status put_on(PendingSave& save, std::int64_t version) {
    const StatePersistenceRequest& request = save.job.request;
    PreparedWrite& prepared = save.attempt.write;
    SnapshotInfo& info = prepared.write.snapshot.info;
    ChainCost chain = save.lands_as().chain;
    if (!has_its_base(save.attempt)) {
        const Result<ChainCost> whole = SnapshotWriter::make_whole(prepared.write, request.state_data);
        if (!whole) return std::unexpected(whole.error());
        chain = *whole;
    }
    if (info.base_version != 0) info.base_version = version;
    if (prepared.parent_version) prepared.parent_version = version;
    if (prepared.required_version && !request.expected_version) prepared.required_version = version;
    SnapshotWriter::put_after(prepared.write, version, prepared.parent_version);
    save.attempt.lands_elsewhere =
        std::make_shared<const CachedHead>(CachedHead{.info = info, .state = request.state_data, .chain = chain});
    return {};
}

}  // namespace

Status put_on_what_is_there(PendingSave& save) {
    return guarded([&]() -> Status {
        const SaveAttempt& attempt = save.attempt;
        if (attempt.follows && attempt.follows->is_known && has_its_parent(save)) {
            const std::int64_t version = wanted_version(save);
            if (version != attempt.write.write.expected_version || !has_its_base(attempt)) {
                if (Status status = put_on(save, version); !status) return status;
            }
        }
        // True as long as nothing else is known.
        const SnapshotInfo& own = save.lands_as().info;
        set(*attempt.landing, own.version, own.snapshot_id, dropped_before(attempt));
        return {};
    });
}

void note_landing(const PendingSave& save) noexcept {
    const Result<Receipt>& result = *save.attempt.result;
    Landing& landing = *save.attempt.landing;
    const bool is_there = result && result->outcome != Outcome::kDeduplicated;
    landing.is_known = landing.is_known && is_there;
    if (is_there) landing.version = result->version;
}

void note_dropped(const PendingSave& save) noexcept {
    const SaveAttempt& attempt = save.attempt;
    const Status noted = guarded([&]() -> Status {
        const std::int64_t dropped = dropped_before(attempt) + 1;
        if (attempt.follows) {
            set(*attempt.landing, attempt.follows->version, attempt.follows->snapshot_id, dropped);
        } else {
            set(*attempt.landing, prepared_on(save), attempt.write.write.base_snapshot_id, dropped);
        }
        return {};
    });
    const bool follows_known = !attempt.follows || attempt.follows->is_known;
    attempt.landing->is_known = noted && follows_known && !attempt.may_be_applied();
}

void hand_over(PendingSave& left, PendingSave& behind) noexcept {
    Landing& landing = *left.attempt.landing;
    if (left.attempt.may_be_applied()) {
        landing.is_known = false;
        return;
    }
    behind.attempt.dropped_before += left.attempt.dropped_before + 1;
    if (left.attempt.follows) {
        behind.attempt.follows = left.attempt.follows;
        return;
    }
    landing.is_known = true;
    landing.version = prepared_on(left);
    landing.snapshot_id = std::move(left.attempt.write.write.base_snapshot_id);  // it is not committed any more
}

}  // namespace cairn
