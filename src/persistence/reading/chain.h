#pragma once

// Which frame a state is stored as: a delta against an earlier state, as long as the chain that a load has to decode
// stays within its limits, or a self-contained one.

#include "frame/frame.h"

#include <cairn/persistence.h>

#include <cstdint>
#include <optional>
#include <string>

namespace cairn {

/// What decoding a snapshot costs: its own frame and those that it needs.
struct ChainCost {
    std::uint32_t frames = 0;
    std::uint64_t bytes = 0;
    std::uint64_t full_frame_bytes = 0;  ///< Of the self-contained frame at the chain's front,
    std::uint64_t full_text_bytes = 0;   ///< and of the text that it decodes to.
};

/// The chain of a snapshot as it was read.
Result<ChainCost> chain_cost(const Snapshot& snapshot);

/// A state that a later one may be encoded against.
struct DeltaBase {
    State state;
    std::int64_t version = 0;
    std::string snapshot_id = {};  ///< If given, the store makes sure that it still is this snapshot.
    Checksum checksum;             ///< Of the state, for the same purpose.
    ChainCost chain;
};

/// A state as it is going to be stored.
struct EncodedState {
    std::string frame;
    Checksum checksum;
    std::int64_t base_version = 0;  ///< 0: self-contained.
    std::string base_snapshot_id;   ///< The base's, if known.
    std::optional<Checksum> base_checksum;
    ChainCost chain;
};

/// Self-contained.
Result<EncodedState> encode_full(const State& state, const FrameOptions& options);

/// As a delta against `base` where that is the smaller form and the limits allow it, otherwise self-contained. So is
/// ciphertext, without a try.
Result<EncodedState> encode_against(const DeltaBase& base, const State& state, const FrameOptions& options,
                                    const ChainLimits& limits);

}  // namespace cairn
