#include "persistence/head_cache.h"

#include <iterator>
#include <utility>

namespace cairn {

std::shared_ptr<const CachedHead> HeadCache::find(const std::string& run_id) {
    const std::lock_guard lock(mutex_);
    const auto found = by_run_.find(run_id);
    if (found == by_run_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->head;
}

std::shared_ptr<const CachedHead> HeadCache::put(const std::string& run_id, CachedHead head) {
    auto kept = std::make_shared<const CachedHead>(std::move(head));
    const std::lock_guard lock(mutex_);
    if (const auto found = by_run_.find(run_id); found != by_run_.end()) {
        if (found->second->head->version > kept->version) return kept;
        remove(found->second);
    }
    if (kept->state.size_bytes() > bytes_max_) return kept;
    bytes_ += kept->state.size_bytes();
    entries_.push_front({.run_id = run_id, .head = kept});
    by_run_.emplace(entries_.front().run_id, entries_.begin());
    evict_to_limits();
    return kept;
}

void HeadCache::clear() {
    const std::lock_guard lock(mutex_);
    by_run_.clear();
    entries_.clear();
    bytes_ = 0;
}

void HeadCache::resize(std::size_t size_max, std::size_t bytes_max) {
    const std::lock_guard lock(mutex_);
    size_max_ = size_max;
    bytes_max_ = bytes_max;
    evict_to_limits();
}

HeadCache::Figures HeadCache::figures() const {
    const std::lock_guard lock(mutex_);
    Figures figures{.size = entries_.size(),
                    .size_max = size_max_,
                    .bytes = bytes_,
                    .bytes_max = bytes_max_,
                    .evictions = evictions_,
                    .run_ids = {}};
    figures.run_ids.reserve(entries_.size());
    for (const Entry& entry : entries_) figures.run_ids.push_back(entry.run_id);
    return figures;
}

void HeadCache::remove(Entries::iterator entry) {
    bytes_ -= entry->head->state.size_bytes();
    by_run_.erase(entry->run_id);
    entries_.erase(entry);
}

void HeadCache::evict_to_limits() {
    while (entries_.size() > size_max_ || bytes_ > bytes_max_) {
        remove(std::prev(entries_.end()));
        ++evictions_;
    }
}

}  // namespace cairn
