#pragma once

#include "fault/kill/report.h"

#include <cairn/persistence.h>

#include <cstdint>
#include <string>

namespace cairn::test {

/// The most processes that use one file at once. The number of the k-th of them leaves the remainder k when divided by
/// this.
inline constexpr std::int32_t kProcessesMax = 8;

/// A process that saves from many threads in every possible way and reports each answer, until it is killed.
struct BusySaver {
    std::string url;
    std::int32_t process = 0;  ///< Different for every process that ever writes to the file.
    std::uint64_t seed = 0;
    bool shares_runs = false;  ///< Other processes save some of the same runs, and prune and delete others.
    std::int32_t threads = 8;

    /// The limits of the queue. When the process dies, the queued saves are lost, and no more than these.
    static constexpr std::size_t kQueuedSavesMax = 96;
    static constexpr std::uint64_t kQueuedBytesMax = 160'000;

    /// Reports to the pipe `reports`. Returns only if the store cannot be opened, with an exit code.
    int save_until_killed(int reports) const;
};

/// The number of snapshots that another process keeps of each pruned run: the newest.
inline constexpr std::size_t kKeptVersions = 6;
inline bool is_pruned(std::string_view run) {
    return run.starts_with("pruned");
}
/// Says whether another process deletes the whole run.
inline bool is_doomed(std::string_view run) {
    return run.starts_with("doomed");
}

/// Prunes and deletes, over and over.
int prune_until_killed(const std::string& url, std::uint64_t seed, int reports);

}  // namespace cairn::test
