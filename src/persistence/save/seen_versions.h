#pragma once

#include "persistence/save/recent_runs.h"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace cairn {

/// The head version that this service last saw of each run, so that `on_conflict=fail` notices a second writer.
/// Bounded: the run noted longest ago is forgotten first. It is then as unknown as to a new process. A head goes back
/// only when its run is deleted and made anew, or when the store is an older copy.
/// Threads: safe to call concurrently.
class SeenVersions {
public:
    explicit SeenVersions(std::size_t runs_max = 65'536) : runs_max_(runs_max) {}

    /// Notes that the head is at `version` now. The caller keeps the order of the run's saves.
    void note(const std::string& run_id, std::int64_t version);
    /// Notes that the head was at `version` (0: there was no such run) at some time after `find` had answered `found`.
    /// Saves may have come in between.
    void note_read(const std::string& run_id, std::int64_t version, std::optional<std::int64_t> found);
    std::optional<std::int64_t> find(const std::string& run_id) const;

private:
    void put(const std::string& run_id, std::int64_t version);

    const std::size_t runs_max_;
    mutable std::mutex mutex_;
    RecentRuns<std::int64_t> versions_;  // guarded by mutex_
};

}  // namespace cairn
