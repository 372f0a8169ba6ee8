#pragma once

// Finds out which of a run's snapshots can be loaded, and decodes each of them once. Loading every snapshot by itself
// would cost the length of its chain each time, since a load decodes all the frames that a snapshot needs.

#include <cairn/checksum.h>
#include <cairn/error.h>
#include <cairn/state.h>
#include <cairn/store.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cairn {

/// Memory: about 100 bytes a snapshot, and at most as many texts as the logarithm of the number of snapshots. Of the
/// snapshots with the same base, the one with the most dependants comes last, so that few texts are kept for later.
class RunExamination {
public:
    /// `deadline`: of the whole examination. A single read does not wait longer than usual (`reading_deadline`).
    RunExamination(Store& store, std::string run_id, const StateLimits& limits, Deadline deadline)
        : store_(store), run_id_(std::move(run_id)), limits_(limits), deadline_(deadline) {}

    /// Reads the records of the run's snapshots, without their frames. Call it first. Errors: the store's.
    [[nodiscard]] Status read_records();

    /// Decodes every snapshot. Damage and exceeded limits are not errors: `problem` returns them. Errors: the store's.
    [[nodiscard]] Status examine_all();
    /// Like `examine_all`, but only for the snapshots that need the same self-contained frame as `version`. A second
    /// call for them does nothing.
    [[nodiscard]] Status examine(std::int64_t version);

    /// The error that a load of an examined snapshot ends with (kCorrupt, kIncompatible, kLimitExceeded); nothing if it
    /// can be loaded.
    std::optional<Error> problem(const SnapshotInfo& info) const;
    bool has_problems() const { return !problems_.empty(); }

private:
    struct Record {
        std::int64_t version = 0;
        std::int64_t base_version = 0;
        std::size_t base = 0;  // the base's place; the record's own place if it has no base
        std::size_t first_dependant = 0;
        std::size_t next_sibling = 0;
        std::uint64_t frame_bytes = 0;
        Checksum checksum;
        std::uint64_t state_bytes = 0;
        const std::string* state_type = nullptr;  // one of `state_types_`
        std::uint32_t frames = 1;                 // the number of frames that a load needs
        std::uint32_t dependants = 0;             // the number of snapshots that need it, directly or not
        bool is_examined = false;
    };
    struct Problem {
        Error error;
        std::int64_t because = 0;      // the version with the cause, which this one needs; 0: the cause is its own
        bool is_without_text = false;  // no snapshot that needs this one can be loaded either
    };
    struct Decoded;
    class Texts;

    void add(const SnapshotInfo& info);
    std::optional<std::size_t> find(std::int64_t version) const;
    std::size_t front_of(std::size_t place) const;
    std::vector<std::size_t> order_from(std::size_t front) const;
    std::size_t count_for_one_read(std::span<const std::size_t> places) const;

    Status examine_tree(std::size_t front);
    Status examine_some(std::span<const std::size_t> places, Texts& texts);
    Status examine_one(std::size_t place, const BaseFrame* frame, Texts& texts);
    Status read_again(std::size_t place, Texts& texts);
    Status load_alone(std::size_t place, Texts& texts);
    Decoded decode(const Record& record, const std::string& frame, const std::string* base) const;
    bool is_known_to_fail(std::size_t place);
    void keep(std::size_t place, std::string text, Texts& texts);

    Store& store_;
    const std::string run_id_;
    const StateLimits limits_;
    const Deadline deadline_;
    std::set<std::string> state_types_;
    std::vector<Record> records_;                        // by version
    std::unordered_map<std::size_t, Problem> problems_;  // by place
};

}  // namespace cairn
