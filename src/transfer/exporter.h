#pragma once

// Runs of a store as lines of text, which `import_lines` reads into any store.

#include <cairn/runtime.h>
#include <cairn/state.h>
#include <cairn/store.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cairn {

/// A run to export. Its id is enough: the rest is what a list of runs knows of it.
struct ExportedRun {
    std::string run_id;
    Timestamp created_at = {};
    std::uint64_t snapshots = 0;
    std::string damage = {};
};

/// All runs of a thread, of a user, or of the store, the one created first in front.
/// Errors: kNotFound (a thread or a user is given, and has none), the store's.
[[nodiscard]] Result<std::vector<ExportedRun>> list_runs_to_export(Store& store,
                                                                   const std::optional<std::string>& thread_id = {},
                                                                   const std::optional<std::string>& user_id = {});

/// Takes one line, without its newline. An error ends the export.
using LineSink = std::function<Status(std::string line)>;

struct ExportOptions {
    StateLimits state_limits = {};
    Runtime runtime = {};                          ///< Its log gets damaged and omitted places.
    std::function<void()> on_snapshot = nullptr;   ///< Before each snapshot.
    std::function<bool()> is_cancelled = nullptr;  ///< Asked before each snapshot; true ends the export.
};

struct ExportReport {
    std::uint64_t snapshots = 0;
    // Omitted places. The rest is exported all the same.
    std::uint64_t damaged = 0;    ///< Snapshots, and runs of which nothing could be listed.
    std::uint64_t too_large = 0;  ///< Snapshots beyond `state_limits`.
};

/// Gives `sink` a line a snapshot, those of each run the oldest first, and the last line, which says that nothing is
/// missing. Lines are made as they are read: of a run that others write meanwhile, what comes later may be missing.
/// Recovery logs and leases are not exported.
/// Threads: calls `sink` and the options' functions on the calling thread, which waits for the store.
/// Errors: those of `sink` and of the store, kUnavailable (cancelled). The sink's lines are then incomplete, and the
///   last line is missing. Damage is not an error: the report counts it.
[[nodiscard]] Result<ExportReport> export_runs(Store& store, std::span<const ExportedRun> runs, const LineSink& sink,
                                               const ExportOptions& options = {});

}  // namespace cairn
