#pragma once

// What a save comes to: a skip, a share in another save's fate, or a frame to be committed on top of the run's head.

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

namespace cairn {

/// One of these.
struct PreparedSave {
    std::optional<Receipt> skipped = {};  ///< It repeats the store's head.
    Save twin = nullptr;                  ///< It repeats a save under way, the newest of the run.
    Save save = nullptr;                  ///< It is to be queued,
    Save replaces = nullptr;              ///< and to take this one's place.
};

/// Threads: safe to call concurrently, for one run inside its lane.
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

    /// A critical save is `sync` whatever was asked for.
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
        KnownHead known = nullptr;  ///< With its state; null if nobody needs it.
        Save pending = nullptr;     ///< The save that makes it; null: it is in the store.
        bool is_repeated = false;   ///< The save would add nothing to it.
    };

    Result<Found> find_head(const StatePersistenceRequest& request, Deadline deadline);
    bool can_expect(const StatePersistenceRequest& request, Found& cached);
    Result<Found> ask_for_head(const StatePersistenceRequest& request, const Found& cached, Deadline deadline);
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
