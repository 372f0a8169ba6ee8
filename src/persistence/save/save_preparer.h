#pragma once

// Decides how a save goes on: as a skip, as an in-flight duplicate that shares another save's result, or as a frame to
// be committed on top of the run's head.

#include "persistence/reading/chain.h"
#include "persistence/save/batcher.h"
#include "persistence/save/head_cache.h"
#include "persistence/save/pending_save.h"
#include "persistence/service_core.h"
#include "persistence/service_stats.h"

#include <cairn/persistence.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <variant>

namespace cairn {

/// The save repeats the store's head.
struct SkippedSave {
    Receipt receipt;
};
/// The save repeats the newest save of its run, which is still under way.
struct SharedSave {
    Save twin;
};
/// The save is to be queued.
struct NewSave {
    Save save;
    Save replaces;  ///< The queued save whose place it takes; null: none.
};
using PreparedSave = std::variant<SkippedSave, SharedSave, NewSave>;

/// Threads: safe to call concurrently. A caller must be inside the lane of its run.
class SavePreparer {
public:
    SavePreparer(const ServiceCore& core, const OptimizedOptions& options, HeadCache& cache, Batcher& batcher,
                 ServiceStats& stats)
        : deduplication(options.enable_deduplication),
          ignores_key_order(options.ignore_key_order),
          compression(options.enable_compression),
          core_(core),
          chain_limits_(options.chain_limits),
          durability_(options.durability),
          latest_only_(options.latest_only),
          cache_(cache),
          batcher_(batcher),
          stats_(stats) {}

    /// Compares the state with the run's head and encodes it. `new_id` is set as soon as the save has an id of its own.
    Result<PreparedSave> prepare(const StatePersistenceRequest& request, std::string& new_id, Deadline deadline,
                                 bool may_replace);

    /// A critical save is `sync`, whatever its request says.
    Durability wanted_durability(const StatePersistenceRequest& request) const {
        return request.is_critical() ? Durability::kSync : request.durability.value_or(durability_);
    }

    std::atomic<bool> deduplication;
    std::atomic<bool> ignores_key_order;
    std::atomic<bool> compression;

private:
    using KnownHead = std::shared_ptr<const CachedHead>;
    /// The head that a save finds, in the store or on its way there.
    struct Found {
        std::optional<Head> head = {};
        KnownHead known = nullptr;  ///< The head with its state; null if the state is not needed.
        Save pending = nullptr;     ///< The save that makes this head; null: it is in the store.
        bool is_repeated = false;   ///< The save would add nothing to this head.
    };

    Result<Found> find_head(const StatePersistenceRequest& request, Deadline deadline);
    bool can_expect(const StatePersistenceRequest& request, Found& cached);
    Result<Found> ask_for_head(const StatePersistenceRequest& request, const Found& cached, Deadline deadline);
    Result<PreparedSave> skip(const StatePersistenceRequest& request, Head head, Deadline deadline) const;
    SkipRule skip_rule() const;
    bool is_repeated(const StatePersistenceRequest& request, const KnownHead& head) const;
    Status check_head(const StatePersistenceRequest& request, const Found& found) const;
    Result<Save> find_pending(const StatePersistenceRequest& request, Deadline deadline);
    Result<KnownHead> read_head(const StatePersistenceRequest& request, const Head& head, Deadline deadline);
    std::optional<std::int64_t> required_version(const StatePersistenceRequest& request, const Found& found) const;
    Result<Save> make_save(const StatePersistenceRequest& request, const std::string& snapshot_id, const Found& found,
                           Deadline deadline) const;
    Result<EncodedState> encode(const StatePersistenceRequest& request, const Found& found,
                                std::optional<std::int64_t>& parent_version, Deadline deadline) const;
    Result<std::optional<DeltaBase>> fork_base(const Snapshot& snapshot) const;
    bool is_replaceable(const StatePersistenceRequest& request) const;

    const ServiceCore& core_;
    const ChainLimits chain_limits_;
    const Durability durability_;
    const bool latest_only_;
    HeadCache& cache_;
    Batcher& batcher_;
    ServiceStats& stats_;
};

}  // namespace cairn
