#include "persistence/save/seen_versions.h"

#include <algorithm>

namespace cairn {

void SeenVersions::note(const std::string& run_id, std::int64_t version) {
    const std::lock_guard lock(mutex_);
    put(run_id, version);
}

void SeenVersions::note_read(const std::string& run_id, std::int64_t version, std::optional<std::int64_t> found) {
    const std::lock_guard lock(mutex_);
    const std::int64_t* const known = versions_.find(run_id);
    const std::int64_t newest = known == nullptr ? 0 : *known;
    const bool went_back = version < newest && found == newest;
    if (newest != 0 || version != 0) put(run_id, went_back ? version : std::max(version, newest));
}

void SeenVersions::put(const std::string& run_id, std::int64_t version) {
    versions_.put(run_id, version);
    if (versions_.size() > runs_max_) versions_.erase(versions_.oldest().first);
}

std::optional<std::int64_t> SeenVersions::find(const std::string& run_id) const {
    const std::lock_guard lock(mutex_);
    const std::int64_t* const known = versions_.find(run_id);
    return known == nullptr ? std::nullopt : std::optional(*known);
}

}  // namespace cairn
