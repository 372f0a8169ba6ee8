#include "persistence/save/head_cache.h"

#include <iterator>
#include <utility>

namespace cairn {

std::shared_ptr<const CachedHead> HeadCache::find(std::string_view run_id) {
    const std::lock_guard lock(mutex_);
    const auto found = by_run_.find(run_id);
    if (found == by_run_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front();
}

std::shared_ptr<const CachedHead> HeadCache::put(std::shared_ptr<const CachedHead> head) {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_run_.find(head->info.run_id); found != by_run_.end()) {
        if ((*found->second)->info.version > head->info.version) return head;
        remove(found->second);
    }
    if (head->bytes() > bytes_max_) return head;
    entries_.push_front(head);
    by_run_.emplace(head->info.run_id, entries_.begin());
    bytes_ += head->bytes();
    evict_to_limits();
    return head;
}

void HeadCache::forget(std::string_view run_id) {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_run_.find(run_id); found != by_run_.end()) remove(found->second);
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
    for (const auto& head : entries_) figures.run_ids.push_back(head->info.run_id);
    return figures;
}

void HeadCache::remove(Entries::iterator entry) {
    bytes_ -= (*entry)->bytes();
    by_run_.erase((*entry)->info.run_id);
    entries_.erase(entry);
}

void HeadCache::evict_to_limits() {
    while (entries_.size() > size_max_ || bytes_ > bytes_max_) {
        remove(std::prev(entries_.end()));
        ++evictions_;
    }
}

}  // namespace cairn
