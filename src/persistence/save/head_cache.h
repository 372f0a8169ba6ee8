#pragma once

#include "persistence/reading/chain.h"
#include "persistence/save/recent_runs.h"

#include <cairn/state.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

/// A head with its state.
struct CachedHead {
    SnapshotInfo info;  ///< As it was written or read. Retention may have stored the same state in other bytes since.
    State state;
    ChainCost chain;  ///< The cost of loading it.

    /// Says whether this is the store's `head`. The id alone does not: a caller may give its own id again, after its
    /// run was deleted and made anew.
    bool is(const Head& head) const {
        return info.version == head.version && info.snapshot_id == head.snapshot_id && info.checksum == head.checksum &&
               info.expires_at == head.expires_at;
    }
    std::size_t bytes() const { return state.size_bytes() + info.execution_context.size() + info.metadata.size(); }
};

/// The newest heads, as the store has confirmed them, of the runs used last, so that a state need not be read back. An
/// entry may be outdated: the caller compares it with the store's head (`CachedHead::is`). The cache is bounded by
/// entries and by bytes of text, and evicts the run used longest ago first. It does not keep a state that is larger
/// than all the bytes. Threads: safe to call concurrently.
class HeadCache {
public:
    struct Figures {
        std::size_t size = 0;
        std::size_t size_max = 0;
        std::size_t bytes = 0;
        std::size_t bytes_max = 0;
        std::uint64_t evictions = 0;
        std::vector<std::string> run_ids;  ///< The run used last in front.
    };

    HeadCache(std::size_t size_max, std::size_t bytes_max) : size_max_(size_max), bytes_max_(bytes_max) {}

    /// Null if the run is not cached.
    std::shared_ptr<const CachedHead> find(std::string_view run_id);
    /// Keeps `head` unless a newer version of the run is already there. Returns it, kept or not.
    std::shared_ptr<const CachedHead> put(std::shared_ptr<const CachedHead> head);
    void forget(std::string_view run_id);
    void clear();
    void resize(std::size_t size_max, std::size_t bytes_max);
    Figures figures() const;

private:
    void remove(const std::shared_ptr<const CachedHead>& head);
    void evict_to_limits();

    mutable std::mutex mutex_;
    std::size_t size_max_;  // guarded by mutex_, as is all below
    std::size_t bytes_max_;
    std::size_t bytes_ = 0;
    std::uint64_t evictions_ = 0;
    RecentRuns<std::shared_ptr<const CachedHead>> heads_;
};

}  // namespace cairn
