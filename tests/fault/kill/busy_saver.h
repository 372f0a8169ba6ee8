#pragma once

#include "fault/kill/report.h"

#include <cairn/persistence.h>

#include <cstdint>
#include <string>

namespace cairn::test {

/// So many at once on one file. The k-th of them has a number that leaves k when divided by this.
inline constexpr std::int32_t kProcessesMax = 8;

/// A process that saves from many threads in every way there is, and reports each answer, until it is killed.
struct BusySaver {
    std::string url;
    std::int32_t process = 0;  ///< Different from every other that ever wrote to the file.
    std::uint64_t seed = 0;
    bool shares_runs = false;  ///< Other processes save some of the same runs, and prune and delete others.
    std::int32_t threads = 8;

    /// What waits to be committed when the process dies is lost, and no more than this.
    static constexpr std::size_t kQueuedSavesMax = 96;
    static constexpr std::uint64_t kQueuedBytesMax = 160'000;

    /// Reports to the pipe `reports`. Returns an exit code, and only if the store cannot be opened.
    int save_until_killed(int reports) const;
};

/// Runs whose old snapshots another process deletes, keeping the newest so many.
inline constexpr std::size_t kKeptVersions = 6;
inline bool is_pruned(std::string_view run) {
    return run.starts_with("pruned");
}
/// Runs that another process deletes as a whole.
inline bool is_doomed(std::string_view run) {
    return run.starts_with("doomed");
}

/// The process that prunes and deletes, over and over.
int prune_until_killed(const std::string& url, std::uint64_t seed, int reports);

}  // namespace cairn::test
