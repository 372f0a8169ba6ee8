#pragma once

// Writes a batch of saves to the store in one commit, in which each run has its own answer. A save that is refused, or
// whose commit failed with all others, goes back into the queue. It is then tried by itself, and at last on the
// standard path.

#include "persistence/save/head_cache.h"
#include "persistence/save/pending_save.h"
#include "persistence/save/save_queue.h"
#include "persistence/service_core.h"
#include "persistence/service_stats.h"

#include <cairn/persistence.h>

#include <optional>
#include <span>
#include <string>

namespace cairn {

/// Says whether the standard path would end with the same error: the caller's mistake, or the answer it asked for.
bool is_final(ErrorCode code) noexcept;

class SaveCommitter {
public:
    SaveCommitter(const ServiceCore& core, HeadCache& cache, ServiceStats& stats)
        : core_(core), cache_(cache), stats_(stats) {}

    /// Sets the result of each, or leaves it empty: the save is to be tried again, `is_alone` or together with others.
    /// The saves of a run stand together. Afterwards, what has been saved is in the cache. A first try ends by
    /// `deadline`; a save that is tried alone always has a result, by its own deadline.
    /// Threads: safe to call concurrently, for different runs.
    void commit(std::span<const Save> saves, Deadline deadline) noexcept;

    /// Makes the save on the standard path because of `cause`, under the id that the attempts before had.
    /// `is_in_doubt`: one of them may have been applied.
    Result<Receipt> fall_back(const StatePersistenceRequest& request, const std::string& snapshot_id,
                              std::optional<std::int64_t> required_version, Deadline deadline, Error cause,
                              bool is_in_doubt);

private:
    class RunsOfBatch;

    static void put_in_place(std::span<const Save> saves) noexcept;
    static void end_too_late(PendingSave& save) noexcept;
    static void try_alone(std::span<const Save> saves) noexcept;
    Status commit_together(std::span<const Save> saves, Deadline deadline);
    void settle(std::span<const Save> saves) noexcept;
    static void refuse(std::span<const Save> saves, const Error& answer) noexcept;
    void end_failed_batch(std::span<const Save> saves, const Error& error, Deadline deadline) noexcept;
    void commit_alone(PendingSave& save) noexcept;
    Result<Receipt> write_alone(PendingSave& save, bool is_in_doubt);
    void remember(const PendingSave& save) noexcept;

    const ServiceCore& core_;
    HeadCache& cache_;
    ServiceStats& stats_;
};

}  // namespace cairn
