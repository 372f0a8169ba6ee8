#pragma once

// A save between its queue and the store.

#include "persistence/save/head_cache.h"
#include "persistence/save/snapshot_writer.h"

#include <cairn/persistence.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cairn {

/// The place in its run where a save ends, for the saves that are prepared on top of it before that is known.
struct Landing {
    bool is_known = false;        ///< To this service. The members below are the run's head behind the save:
    std::int64_t version = 0;     ///< its own, or, if it was dropped, the one that it was prepared on.
    std::string snapshot_id;      ///< Empty: the head's id is not known.
    std::int64_t dropped = 0;     ///< The number of dropped saves up to it that were prepared one on top of the other.
    bool has_left_queue = false;  ///< No save may be queued behind it. Guarded by the batcher's mutex.
};

/// A save as it was asked for and prepared. It does not change any more.
struct SaveJob {
    StatePersistenceRequest request;
    std::shared_ptr<const CachedHead> becomes;  ///< The run's head after the commit, unless others save meanwhile.
    std::shared_ptr<const CachedHead> base;     ///< Only of a replaceable save: the head before it, if it is known.
    std::chrono::milliseconds patience{0};      ///< The longest time that it may wait for the store after its release.
    std::uint64_t bytes = 0;                    ///< The memory of its states, frame, context and metadata.
    bool is_held = false;                       ///< It is not committed before a flush or the like releases it.
    bool is_replaceable = false;                ///< A newer save of the run may take its place.
};

/// The tries to commit a save. They belong to the thread that commits it, and to the batcher's mutex while it is
/// queued.
struct SaveAttempt {
    PreparedWrite write;
    Deadline deadline;  ///< Like the next two, constant during a commit.
    std::shared_ptr<const Landing>
        follows;                       ///< The landing of the save before it; null: it is on top of the store's head.
    std::int64_t dropped_before = 0;   ///< The number of saves between the two that left the queue.
    bool is_alone = false;             ///< Committed by itself: it is critical, or failed together with others.
    bool was_tried = false;            ///< It went back into the queue. It may be in the store already.
    std::optional<Error> answer = {};  ///< The store's answer to the try before, if it was about this save.
    std::shared_ptr<const CachedHead> lands_elsewhere = {};  ///< The new head, if that is not what was prepared.
    std::shared_ptr<Landing> landing = std::make_shared<Landing>();
    std::optional<Result<Receipt>> result = {};  ///< Empty after a commit: the save is to be tried again.

    bool may_be_applied() const { return answer && answer->code == ErrorCode::kOutcomeUnknown; }
    bool is_tried_alone() const { return was_tried && is_alone; }
};

/// A save in the batcher. The private members are guarded by the batcher's mutex.
class PendingSave {
public:
    /// `is_acknowledged`: the caller is told that it is queued.
    PendingSave(SaveJob its_job, SaveAttempt first_attempt, bool is_acknowledged)
        : job(std::move(its_job)), attempt(std::move(first_attempt)), is_acknowledged_(is_acknowledged) {}

    const CachedHead& lands_as() const { return attempt.lands_elsewhere ? *attempt.lands_elsewhere : *job.becomes; }

    const SaveJob job;
    SaveAttempt attempt;

private:
    friend class Batcher;
    friend class SaveQueue;
    using Clock = std::chrono::steady_clock;

    enum class Stage : std::uint8_t { kQueued, kCommitting, kSettled };
    Stage stage_ = Stage::kQueued;
    bool is_acknowledged_;                      // some caller was told that it is queued
    bool is_shared_ = false;                    // other callers rely on it too, or did
    bool ended_early_ = false;                  // saves of its run before it may still be queued
    int callers_ = 1;                           // that rely on it and have not been told how it ends
    std::shared_ptr<PendingSave> replaced_by_;  // it is not committed: this save takes its place
    std::vector<SaveCompletion> completions_;
    std::condition_variable settled_;  // for waiters
    int waiters_ = 0;
    Clock::time_point released_at_;  // since when it may be committed
};

using Save = std::shared_ptr<PendingSave>;

}  // namespace cairn
