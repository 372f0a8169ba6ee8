#pragma once

// Checks a store against everything that the processes of a soak were told about it: successes and errors.

#include "fault/soak/ledger.h"

#include <cairn/store.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::test {

struct SoakFigures {
    /// The number of calls by their result: "save: persisted", "recover: unavailable", …
    std::map<std::string, std::uint64_t> calls;
    std::uint64_t unanswered = 0;
    std::uint64_t snapshots = 0;  ///< Those that were loaded at the end, and compared.

    std::string to_string() const;
};

/// A broken promise.
struct Violation {
    std::string rule;
    std::string what;
    std::uint64_t times = 1;  ///< The number of times, with violations of the same rule that are not listed.
};
using Violations = std::vector<Violation>;

class Oracle {
public:
    /// `calls`: the calls of all processes. All of them must be dead.
    explicit Oracle(std::vector<Call> calls);

    /// Checks the store, without faults.
    Violations examine(const std::string& url, SoakFigures& figures);

private:
    struct Stored {
        std::string id;
        std::int64_t version = 0;
        std::string type;
        std::string author;
        bool is_there = false;        ///< If it is there at the end. Otherwise some process has loaded it.
        std::int64_t seen_begun = 0;  ///< When the last load that has seen it began.
        std::string seen_by = {};
    };
    struct Run {
        std::map<std::string, Stored> snapshots = {};  ///< By id.
        std::int64_t head_version = 0;
        std::vector<const Call*> saves = {};
        std::vector<const Call*> recoveries = {};
        std::vector<const Call*> deletions = {};
        std::vector<const Call*> loads = {};
        bool is_whole = false;
        bool is_pruned = false;
    };

    void sort_calls();
    void read_store(Store& store, SoakFigures& figures);
    void read_run(Store& store, const RunInfo& info, SoakFigures& figures);
    void add_what_was_seen();

    void check_errors();
    void check_acknowledged(const std::string& name, const Run& run);
    void check_explained(const std::string& name, const Run& run);
    void check_recoveries(const std::string& name, const Run& run);
    void check_order(const std::string& name, const Run& run);
    void check_loads(const std::string& name, const Run& run);
    void check_deletions(const std::string& name, const Run& run);
    void check_forks();
    void check_newest_export();

    bool must_be_there(const Run& run, const Call& save) const;
    bool is_on_disk(const Call& save) const;
    void violate(std::string_view rule, const std::string& what);

    std::vector<Call> calls_;
    std::map<std::string, Run> runs_;
    std::map<std::pair<std::int32_t, std::string>, std::int64_t>
        flushed_;  ///< Every save that was queued before this time is on disk.
    std::vector<const Call*> forks_;
    Violations violations_;
    std::map<std::string, std::size_t, std::less<>> violated_;  ///< For each rule, the number of violations so far.
};

}  // namespace cairn::test
