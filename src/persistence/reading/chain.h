#pragma once

// Chooses the frame of a state: a delta against an earlier state as long as the chain that a load has to decode stays
// within its limits, otherwise a self-contained frame.

#include "frame/frame.h"

#include <cairn/persistence.h>

#include <cstdint>
#include <optional>
#include <string>

namespace cairn {

/// The cost of decoding a snapshot: its own frame and those that it needs.
struct ChainCost {
    std::uint32_t frames = 0;
    std::uint64_t bytes = 0;
    std::uint64_t full_frame_bytes = 0;  ///< Size of the self-contained frame at the chain's front.
    std::uint64_t full_text_bytes = 0;   ///< Size of the text that this frame decodes to.
};

/// Returns the cost of the chain of a snapshot that was read.
Result<ChainCost> chain_cost(const Snapshot& snapshot);

/// A state that a later one may be encoded against.
struct DeltaBase {
    State state;
    std::int64_t version = 0;
    std::string snapshot_id = {};  ///< If given, the store checks that the base still is this snapshot.
    Checksum checksum;             ///< The state's, for the same check.
    ChainCost chain;
};

/// A state as it is going to be stored.
struct EncodedState {
    std::string frame;
    Checksum checksum;
    std::int64_t base_version = 0;  ///< 0: self-contained.
    std::string base_snapshot_id;   ///< The base's id, if known.
    std::optional<Checksum> base_checksum;
    ChainCost chain;
};

/// Encodes `state` as a self-contained frame.
Result<EncodedState> encode_full(const State& state, const FrameOptions& options);

/// Encodes `state` as a delta against `base` if that is smaller and within the limits, otherwise as a self-contained
/// frame. Ciphertext is always self-contained, without a try.
Result<EncodedState> encode_against(const DeltaBase& base, const State& state, const FrameOptions& options,
                                    const ChainLimits& limits);

}  // namespace cairn
