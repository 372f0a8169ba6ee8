#pragma once

// What is known of a run's snapshots without loading each of them: a snapshot is decoded by decoding all that it needs,
// so one load tells of a whole chain. To load every snapshot of a chain by itself takes time with the square of its
// length.

#include <cairn/checksum.h>
#include <cairn/state.h>
#include <cairn/store.h>

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

namespace cairn {

class ChainSurvey {
public:
    explicit ChainSurvey(const StateLimits& limits) : limits_(limits) {}

    /// The record of a snapshot, in the order of their versions.
    void add(const SnapshotInfo& info);

    /// Decodes what `snapshot` needs. `is_damaged`: it could not be loaded itself.
    void learn(const Snapshot& snapshot, bool is_damaged);

    /// Whether it was decoded to the state that its record describes.
    bool is_proven(const SnapshotInfo& info) const;

    /// Why it cannot be loaded, as far as others tell.
    std::optional<std::string> problem(const SnapshotInfo& info) const;

private:
    struct Known {
        std::uint32_t frames = 1;  // that a load needs
        std::int64_t missing = 0;  // the version that it needs and that is not there
        std::int64_t damaged = 0;  // the version that it needs and that cannot be decoded
        std::uint64_t bytes = 0;   // of the text that it was decoded to; 0: it was not
        Checksum checksum = {};    // of that text
    };

    void note(std::int64_t version, const std::string& text);

    StateLimits limits_;
    std::unordered_map<std::int64_t, Known> known_;  // by version
};

}  // namespace cairn
