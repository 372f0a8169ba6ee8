#include "persistence/save/head_cache.h"

#include <utility>

namespace cairn {

std::shared_ptr<const CachedHead> HeadCache::find(std::string_view run_id) {
    const MutexLock lock(mutex_);
    const auto* const head = heads_.use(run_id);
    return head == nullptr ? nullptr : *head;
}

std::shared_ptr<const CachedHead> HeadCache::put(std::shared_ptr<const CachedHead> head) {
    const MutexLock lock(mutex_);
    const std::string& run_id = head->info.run_id;
    if (const auto* const known = heads_.find(run_id)) {
        if ((*known)->info.version > head->info.version) return head;
        remove(*known);
    }
    if (head->bytes() > bytes_max_) return head;
    heads_.put(run_id, head);
    bytes_ += head->bytes();
    evict_to_limits();
    return head;
}

void HeadCache::forget(std::string_view run_id) {
    const MutexLock lock(mutex_);
    if (const auto* const known = heads_.find(run_id)) remove(*known);
}

void HeadCache::clear() {
    const MutexLock lock(mutex_);
    heads_.clear();
    bytes_ = 0;
}

void HeadCache::resize(std::size_t size_max, std::size_t bytes_max) {
    const MutexLock lock(mutex_);
    size_max_ = size_max;
    bytes_max_ = bytes_max;
    evict_to_limits();
}

HeadCache::Figures HeadCache::figures() const {
    const MutexLock lock(mutex_);
    Figures figures{.size = heads_.size(),
                    .size_max = size_max_,
                    .bytes = bytes_,
                    .bytes_max = bytes_max_,
                    .evictions = evictions_,
                    .run_ids = {}};
    figures.run_ids.reserve(heads_.size());
    for (const auto& [run_id, head] : heads_) figures.run_ids.push_back(run_id);
    return figures;
}

void HeadCache::remove(const std::shared_ptr<const CachedHead>& head) {
    // The entry goes, and `head` with it.
    const std::shared_ptr<const CachedHead> removed = head;  // NOLINT(performance-unnecessary-copy-initialization)
    bytes_ -= removed->bytes();
    heads_.erase(removed->info.run_id);
}

void HeadCache::evict_to_limits() {
    while (heads_.size() > size_max_ || bytes_ > bytes_max_) {
        remove(heads_.oldest().second);
        ++evictions_;
    }
}

}  // namespace cairn
