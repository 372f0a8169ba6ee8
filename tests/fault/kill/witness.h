#pragma once

// Knows which saves were acknowledged by the processes that wrote to one file, and checks the file against them.

#include "fault/kill/report.h"

#include <cairn/persistence.h>
#include <cairn/store.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace cairn::test {

/// The numbers of checked and lost saves, by durability.
struct KillFigures {
    struct Of {
        std::uint64_t acknowledged = 0;  ///< All acknowledged saves.
        std::uint64_t hardened = 0;      ///< Those that had to be on disk (by `sync`, a flush, a critical save …).
        std::uint64_t lost = 0;          ///< Those that were gone.
    };
    std::map<Durability, Of> saves;
    std::uint64_t rounds = 0;
    std::uint64_t deduplicated = 0;
    std::uint64_t critical = 0;
    std::uint64_t refused = 0;
    std::uint64_t flushes = 0;
    std::uint64_t unacknowledged = 0;  ///< Stored by a call that was never answered.
    std::uint64_t snapshots = 0;       ///< Those that were loaded and compared.

    std::string to_string() const;
};

/// Adds failures to the running test. Each names the save and the expectation.
class Witness {
public:
    explicit Witness(std::string url, bool is_shared) : url_(std::move(url)), is_shared_(is_shared) {}

    /// Opens the file after all its processes were killed, and compares it with their reports since the last
    /// examination.
    void examine(const std::vector<Report>& reports, KillFigures& figures);
    /// Loads once more everything that was ever seen in the file.
    void examine_all(KillFigures& figures);

private:
    using Author = std::tuple<std::int32_t, std::int32_t, std::int64_t>;  ///< Process, thread, step.
    struct RunOnDisk {
        std::vector<SnapshotInfo> history;  ///< The oldest first.
        std::map<std::string, const SnapshotInfo*> by_id;
    };
    struct Saved {  ///< A report, and the snapshot that is stored of it.
        const Report* report = nullptr;
        const SnapshotInfo* stored = nullptr;
    };
    using SavesOfRun = std::vector<Saved>;  ///< Only those of one process.
    using Saves = std::map<std::pair<std::int32_t, std::string>, SavesOfRun>;

    void read_runs(Store& store);
    void check_versions(const std::string& run, const std::vector<SnapshotInfo>& history) const;
    void check_seen_before() const;
    Saves find_saves(const std::vector<Report>& reports) const;
    const SnapshotInfo* find(const std::string& run, const std::string& snapshot_id) const;
    void check_saved(const Saved& saved, std::uint64_t on_disk_since, KillFigures& figures) const;
    void check_stored(const Saved& saved) const;
    bool may_be_gone(const Report& report) const;
    void check_losses(const Saves& saves, const std::vector<Report>& reports) const;
    void load_what_is_new(StatePersistence& service, const Saves& saves, KillFigures& figures);
    void check_authors(const std::vector<Report>& reports, const Saves& saves) const;

    const std::string url_;
    const bool is_shared_;
    std::map<std::string, RunOnDisk> runs_;  ///< The runs at the last examination.
    /// The snapshots that were loaded and found right, by run and snapshot id.
    std::map<std::string, std::map<std::string, std::pair<Author, std::int64_t>>> seen_;
};

}  // namespace cairn::test
