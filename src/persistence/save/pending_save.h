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
#include <vector>

namespace cairn {

struct PendingSave {
    using Clock = std::chrono::steady_clock;

    // What it is: set before it is queued, then constant.
    StatePersistenceRequest request;
    std::shared_ptr<const CachedHead> becomes;  ///< The run's head once it is committed, unless others save meanwhile.
    std::shared_ptr<const CachedHead> base;     ///< Of a replaceable one: the head before it, if that is known.
    std::chrono::milliseconds patience{0};      ///< How long it may wait for the store once it may go.
    std::uint64_t bytes = 0;                    ///< That it keeps in memory: of states, frame, context and metadata.
    bool is_alone = false;                      ///< Critical: committed by itself.
    bool is_held = false;                       ///< Not committed before somebody asks.
    bool is_replaceable = false;                ///< By a newer one of its run.

    // Whoever commits it uses this, and nobody else.
    PreparedWrite write;

    // Guarded by the batcher's mutex:
    enum class Stage : std::uint8_t { kQueued, kCommitting, kSettled };
    Stage stage = Stage::kQueued;
    Deadline deadline;                         ///< Constant while it is being committed.
    bool is_acknowledged = false;              ///< Somebody was told that it is queued.
    bool is_shared = false;                    ///< Others than its caller rely on it, or did.
    int relying = 1;                           ///< Callers that have not been told how it ends.
    std::optional<Result<Receipt>> result;     ///< Once it is settled.
    bool has_left = false;                     ///< It was taken out of the queue before its turn.
    std::shared_ptr<PendingSave> replaced_by;  ///< It will not be committed: this one takes its place.
    std::vector<SaveCompletion> completions;   ///< Of who is to be told.
    std::condition_variable settled;           ///< For who waits,
    int waiting = 0;                           ///< and how many do.
    Clock::time_point released_at;             ///< Since when it may be committed. The queue's.
};

/// The error of a save that was not begun in time.
inline std::unexpected<Error> still_queued_at_deadline(const std::string& run_id) {
    return fail(ErrorCode::kUnavailable, "the save of run \"" + run_id + "\" was still queued at the deadline");
}

}  // namespace cairn
