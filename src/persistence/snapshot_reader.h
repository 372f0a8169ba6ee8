#pragma once

// From stored bytes to a state that is proven to be what was saved.

#include "persistence/chain.h"

#include <cairn/persistence.h>

#include <optional>
#include <string_view>

namespace cairn {

/// Whether an error says that what is stored is damaged, rather than that it could not be reached.
bool is_damage(const Error& error) noexcept;

/// Decodes a snapshot's frame and holds it against the record beside it.
/// Errors: kCorrupt, kIncompatible, kLimitExceeded (naming CAIRN_STATE_BYTES_MAX); the message names the snapshot.
Result<State> decode_snapshot(const Snapshot& snapshot, const StateLimits& limits);

/// A loaded state, and what loading it cost.
struct ChainedState : LoadedState {
    ChainCost chain;
};

/// Errors: kNotFound, those of decode_snapshot, the store's.
Result<ChainedState> load_snapshot(Store& store, const LoadRequest& request, const StateLimits& limits);

}  // namespace cairn
