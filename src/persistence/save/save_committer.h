#pragma once

// From a batch of saves to the store: all in one commit, in which each run has its own answer. A save that is refused,
// or whose commit failed with all others, is put back into the queue and tried by itself, and then on the standard
// path.

#include "persistence/save/head_cache.h"
#include "persistence/save/pending_save.h"
#include "persistence/save/save_queue.h"
#include "persistence/save/snapshot_writer.h"
#include "persistence/service_stats.h"

#include <cairn/persistence.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace cairn {

/// Whether the standard path would end with the same error: the caller's mistake, or the answer it asked for.
bool is_final(ErrorCode code) noexcept;

class SaveCommitter {
public:
    SaveCommitter(std::shared_ptr<Store> store, std::shared_ptr<SnapshotWriter> writer,
                  StatePersistenceService& standard, HeadCache& cache, ServiceStats& stats, Runtime runtime)
        : store_(std::move(store)),
          writer_(std::move(writer)),
          standard_(standard),
          cache_(cache),
          stats_(stats),
          runtime_(std::move(runtime)) {}

    /// Sets the result of each, or leaves it empty: the save is to be tried again, `is_alone` or together with others.
    /// The saves of a run stand together. Afterwards, what has been saved is in the cache. A first try ends by
    /// `deadline`; a save that is tried alone always has a result, by its own deadline.
    /// Threads: safe to call concurrently, for different runs.
    void commit(std::span<const Save> saves, Deadline deadline) noexcept;

    /// The save on the standard path, under the id that the attempts before had, because of `cause`. `is_in_doubt`: one
    /// of them may have been applied.
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

    std::shared_ptr<Store> store_;
    std::shared_ptr<SnapshotWriter> writer_;
    StatePersistenceService& standard_;
    HeadCache& cache_;
    ServiceStats& stats_;
    const Runtime runtime_;
};

}  // namespace cairn
