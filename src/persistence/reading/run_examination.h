#pragma once

// Which of a run's snapshots can be loaded, at the cost of decoding each of them once. A load decodes all that a
// snapshot needs, so to load every one by itself costs each of them the length of its chain.

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

/// Memory: about 100 bytes a snapshot; of their texts at most as many as the logarithm of their number: of those that
/// need the same one, the one that most others need comes last, so that few are kept for later.
class RunExamination {
public:
    /// `deadline`: of the whole; no reading waits longer than usual for others.
    RunExamination(Store& store, std::string run_id, const StateLimits& limits, Deadline deadline)
        : store_(store), run_id_(std::move(run_id)), limits_(limits), deadline_(deadline) {}

    /// Reads what is known of the run's snapshots without their frames. Comes first. Errors: the store's.
    [[nodiscard]] Status read_records();

    /// Decodes every snapshot. Damage and limits are no errors but problems. Errors: the store's.
    [[nodiscard]] Status examine_all();
    /// As `examine_all`, of those that need the same self-contained frame as `version`; twice is once.
    [[nodiscard]] Status examine(std::int64_t version);

    /// Why a snapshot that was examined cannot be loaded (kCorrupt, kIncompatible, kLimitExceeded), as a load tells it.
    std::optional<Error> problem(const SnapshotInfo& info) const;
    bool has_problems() const { return !problems_.empty(); }

private:
    struct Record {
        std::int64_t version = 0;
        std::int64_t base_version = 0;
        std::size_t base = 0;  // its place; the record's own: it has none
        std::size_t first_dependant = 0;
        std::size_t next_sibling = 0;
        std::uint64_t frame_bytes = 0;
        Checksum checksum;
        std::uint64_t state_bytes = 0;
        const std::string* state_type = nullptr;  // one of `state_types_`
        std::uint32_t frames = 1;                 // that a load needs
        std::uint32_t dependants = 0;             // that need it, directly or not
        bool is_examined = false;
    };
    struct Problem {
        Error error;
        std::int64_t because = 0;      // not its own, but of this version, which it needs
        bool is_without_text = false;  // then nothing that needs it can be loaded either
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
