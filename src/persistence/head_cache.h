#pragma once

#include "persistence/chain.h"

#include <cairn/state.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace cairn {

/// A head that the store has confirmed, with its state.
struct CachedHead {
    std::string snapshot_id;
    std::int64_t version = 0;
    State state;
    ChainCost chain;  ///< Of loading it.
};

/// The newest known head of the runs used last, so that an unchanged state is found without reading it back. What it
/// holds may be outdated: whoever asks compares `version` and `snapshot_id` with the store's head.
/// Bounded by entries and by bytes of text; the run used longest ago goes first. A state that is larger than all
/// the bytes is not kept.
/// Threads: safe to call concurrently.
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
    std::shared_ptr<const CachedHead> find(const std::string& run_id);
    /// Keeps `head` unless a newer version of the run is already there. Returns it, kept or not.
    std::shared_ptr<const CachedHead> put(const std::string& run_id, CachedHead head);
    void clear();
    void resize(std::size_t size_max, std::size_t bytes_max);
    Figures figures() const;

private:
    struct Entry {
        std::string run_id;
        std::shared_ptr<const CachedHead> head;
    };
    using Entries = std::list<Entry>;

    void remove(Entries::iterator entry);
    void evict_to_limits();

    mutable std::mutex mutex_;
    std::size_t size_max_;  // guarded by mutex_, as is all below
    std::size_t bytes_max_;
    std::size_t bytes_ = 0;
    std::uint64_t evictions_ = 0;
    Entries entries_;  // the one used last in front
    std::unordered_map<std::string_view, Entries::iterator> by_run_;
};

}  // namespace cairn
