#include "persistence/seen_versions.h"

#include <algorithm>

namespace cairn {

void SeenVersions::note(const std::string& run_id, std::int64_t version) {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_run_.find(run_id); found != by_run_.end()) {
        found->second->version = std::max(found->second->version, version);
        entries_.splice(entries_.begin(), entries_, found->second);
        return;
    }
    entries_.push_front({.run_id = run_id, .version = version});
    by_run_.emplace(entries_.front().run_id, entries_.begin());
    if (entries_.size() > runs_max_) {
        by_run_.erase(entries_.back().run_id);
        entries_.pop_back();
    }
}

std::optional<std::int64_t> SeenVersions::find(const std::string& run_id) const {
    const std::lock_guard lock(mutex_);
    const auto found = by_run_.find(run_id);
    if (found == by_run_.end()) return std::nullopt;
    return found->second->version;
}

}  // namespace cairn
