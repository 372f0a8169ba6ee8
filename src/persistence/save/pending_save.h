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
#include <vector>

namespace cairn {

/// Where a save ends, for those that are prepared on it before that is known.
struct Landing {
    bool is_known = false;        ///< By this service. What follows is the run's head behind the save:
    std::int64_t version = 0;     ///< its own, or, if it was dropped, what it was prepared on.
    std::string snapshot_id;      ///< Empty: of a head that nobody asked for.
    std::int64_t dropped = 0;     ///< Of the saves up to it that were prepared one on the other.
    bool has_left_queue = false;  ///< Nobody may be queued behind it. Guarded by the batcher's mutex.
};

struct PendingSave {
    using Clock = std::chrono::steady_clock;

    // What it is: set before it is queued, then constant.
    StatePersistenceRequest request;
    std::shared_ptr<const CachedHead> becomes;  ///< The run's head once it is committed, unless others save meanwhile.
    std::shared_ptr<const CachedHead> base;     ///< Of a replaceable one: the head before it, if that is known.
    std::chrono::milliseconds patience{0};      ///< How long it may wait for the store once it may go.
    std::uint64_t bytes = 0;                    ///< That it keeps in memory: of states, frame, context and metadata.
    bool is_held = false;                       ///< Not committed before somebody asks.
    bool is_replaceable = false;                ///< By a newer one of its run.

    // Used by the thread that commits it, and guarded by the batcher's mutex while it is queued.
    bool is_alone = false;  ///< Committed by itself: it is critical, or was refused together with others.
    PreparedWrite write;
    std::optional<Error> answer;                        ///< The store's answer to this save, if it was tried before.
    std::shared_ptr<const CachedHead> lands_elsewhere;  ///< What it `becomes` when it is not put where it was prepared.
    const CachedHead& lands_as() const { return lands_elsewhere ? *lands_elsewhere : *becomes; }
    std::shared_ptr<Landing> landing = std::make_shared<Landing>();
    std::optional<Result<Receipt>> result;  ///< Empty after a commit: the save is to be tried again.
    bool may_be_applied() const { return answer && answer->code == ErrorCode::kOutcomeUnknown; }

    // Guarded by the batcher's mutex:
    enum class Stage : std::uint8_t { kQueued, kCommitting, kSettled };
    Stage stage = Stage::kQueued;
    std::shared_ptr<const Landing> follows;  ///< Of the save that it is on top of; null: it was on the store's head.
    std::int64_t dropped_before = 0;         ///< Saves between the two that left. Both constant in a commit.
    Deadline deadline;                       ///< Constant while it is being committed.
    bool was_tried = false;  ///< It was put back into the queue, perhaps in the store already. Constant in a commit.
    bool is_tried_alone() const { return was_tried && is_alone; }
    bool is_acknowledged = false;              ///< Somebody was told that it is queued.
    bool is_shared = false;                    ///< Others than its caller rely on it, or did.
    int relying = 1;                           ///< Callers that have not been told how it ends.
    bool ended_early = false;                  ///< Saves of its run before it may still be queued.
    std::shared_ptr<PendingSave> replaced_by;  ///< It will not be committed: this one takes its place.
    std::vector<SaveCompletion> completions;   ///< Of who is to be told.
    std::condition_variable settled;           ///< For who waits,
    int waiting = 0;                           ///< and how many do.
    Clock::time_point released_at;             ///< Since when it may be committed. The queue's.
};

}  // namespace cairn
