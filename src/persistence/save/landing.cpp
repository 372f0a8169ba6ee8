#include "persistence/save/landing.h"

#include "persistence/guarded.h"

#include <optional>
#include <string_view>
#include <utility>

namespace cairn {
namespace {

// The version of the head that it was prepared on.
std::int64_t prepared_on(const PendingSave& save) {
    return save.becomes->info.version - 1;
}

std::int64_t dropped_before(const PendingSave& save) {
    return save.dropped_before + (save.follows ? save.follows->dropped : 0);
}

// That the head must have. Who asked for a conflict with other writers has none with saves of this service that were
// dropped, but has one if others came between, whatever number the head has now.
std::int64_t wanted_version(const PendingSave& save) {
    if (save.request.on_conflict != OnConflict::kFail) return save.follows->version;
    return save.request.expected_version ? prepared_on(save) : prepared_on(save) - dropped_before(save);
}

// Without it, the store is asked for the parent, and has none.
bool has_its_parent(const PendingSave& save) {
    return !save.request.parent_snapshot_id || *save.request.parent_snapshot_id == save.follows->snapshot_id;
}

bool has_its_base(const PendingSave& save) {
    const SnapshotWrite& write = save.write.write;
    return write.snapshot.info.base_version == 0 || write.base_snapshot_id == save.follows->snapshot_id;
}

void set(Landing& landing, std::int64_t version, std::string_view snapshot_id, std::int64_t dropped) {
    landing.is_known = true;
    landing.version = version;
    landing.snapshot_id = snapshot_id;
    landing.dropped = dropped;
}

Status put_on(PendingSave& save, std::int64_t version) {
    SnapshotInfo& info = save.write.write.snapshot.info;
    ChainCost chain = save.lands_as().chain;
    if (!has_its_base(save)) {
        const Result<ChainCost> whole = SnapshotWriter::make_whole(save.write.write, save.request.state_data);
        if (!whole) return std::unexpected(whole.error());
        chain = *whole;
    }
    if (info.base_version != 0) info.base_version = version;
    if (save.write.parent_version) save.write.parent_version = version;
    if (save.write.required_version && !save.request.expected_version) save.write.required_version = version;
    SnapshotWriter::put_after(save.write.write, version, save.write.parent_version);
    save.lands_elsewhere =
        std::make_shared<const CachedHead>(CachedHead{.info = info, .state = save.request.state_data, .chain = chain});
    return {};
}

}  // namespace

Status put_on_what_is_there(PendingSave& save) {
    return guarded([&]() -> Status {
        if (save.follows && save.follows->is_known && has_its_parent(save)) {
            const std::int64_t version = wanted_version(save);
            if (version != save.write.write.expected_version || !has_its_base(save)) {
                if (Status status = put_on(save, version); !status) return status;
            }
        }
        // As long as it is not known otherwise.
        const SnapshotInfo& own = save.lands_as().info;
        set(*save.landing, own.version, own.snapshot_id, dropped_before(save));
        return {};
    });
}

void note_landing(const PendingSave& save) noexcept {
    const Result<Receipt>& result = *save.result;
    const bool is_there = result && result->outcome != Outcome::kDeduplicated;
    save.landing->is_known = save.landing->is_known && is_there;
    if (is_there) save.landing->version = result->version;
}

void note_dropped(const PendingSave& save) noexcept {
    if (save.may_be_applied()) {
        save.landing->is_known = false;
        return;
    }
    const Status noted = guarded([&]() -> Status {
        const std::int64_t dropped = dropped_before(save) + 1;
        if (save.follows) {
            set(*save.landing, save.follows->version, save.follows->snapshot_id, dropped);
        } else {
            set(*save.landing, prepared_on(save), save.write.write.base_snapshot_id, dropped);
        }
        return {};
    });
    save.landing->is_known = noted && (!save.follows || save.follows->is_known);
}

void hand_over(PendingSave& left, PendingSave& behind) noexcept {
    if (left.may_be_applied()) {
        left.landing->is_known = false;
        return;
    }
    behind.dropped_before = left.dropped_before + 1;
    if (left.follows) {
        behind.follows = left.follows;
        return;
    }
    left.landing->is_known = true;
    left.landing->version = prepared_on(left);
    left.landing->snapshot_id = std::move(left.write.write.base_snapshot_id);  // nobody commits it any more
}

}  // namespace cairn
