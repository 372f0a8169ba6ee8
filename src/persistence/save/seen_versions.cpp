#include "persistence/save/seen_versions.h"

#include <algorithm>

namespace cairn {

void SeenVersions::note(const std::string& run_id, std::int64_t version) {
    const std::lock_guard lock(mutex_);
    put(run_id, version);
}

void SeenVersions::note_read(const std::string& run_id, std::int64_t version, std::optional<std::int64_t> found) {
    const std::lock_guard lock(mutex_);
    const auto known = by_run_.find(run_id);
    const std::int64_t newest = known == by_run_.end() ? 0 : known->second->version;
    const bool went_back = version < newest && found == newest;
    if (newest != 0 || version != 0) put(run_id, went_back ? version : std::max(version, newest));
}

void SeenVersions::put(const std::string& run_id, std::int64_t version) {
    if (const auto known = by_run_.find(run_id); known != by_run_.end()) {
        known->second->version = version;
        entries_.splice(entries_.begin(), entries_, known->second);
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
