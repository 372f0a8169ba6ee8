#pragma once

// Turns stored bytes into a state that is proven to be the one that was saved.

#include "persistence/reading/chain.h"
#include "persistence/save/head_cache.h"

#include <cairn/persistence.h>

#include <memory>
#include <optional>
#include <string_view>

namespace cairn {

/// Returns true if the error means that stored data is damaged, not that it is out of reach or too large.
bool is_damage(const Error& error) noexcept;
/// Returns true if the error is about this one snapshot, which is damaged or too large: others may be readable.
bool is_unreadable(const Error& error) noexcept;

/// Returns true if the snapshot belongs to the thread and the user of the request. An owner that the request does not
/// name is not checked.
bool is_owned(const SnapshotInfo& info, const LoadRequest& request);

/// What a snapshot's record says of its state.
struct RecordedState {
    Checksum checksum;
    std::uint64_t state_bytes = 0;
    std::string_view state_type;  ///< Empty for JSON.
};

/// Checks that the header of a snapshot's frame does not contradict the record: the content, the size, and the checksum
/// if the frame has one. A header that cannot be read is left to who decodes. Errors: kCorrupt.
[[nodiscard]] Status check_described(std::string_view frame, const RecordedState& record);

/// Checks that the decoded text is what the record says: JSON in normal text, or an opaque state of its type. A
/// checksum finds accidents only: anybody who can write the file can write one that fits. Errors: kCorrupt, kInternal,
/// kLimitExceeded (of an opaque state, since the frame's own limit leaves room for the longest tag).
[[nodiscard]] Status check_decoded(std::string_view text, std::string_view state_type, const StateLimits& limits);

/// Returns `error` with the snapshot's id and version, and with the name of the setting if a limit was exceeded.
Error unloadable_snapshot_error(const SnapshotInfo& info, Error error);

/// Returns " under this owner" if an owner is given.
std::string_view under_owner(const std::optional<std::string>& thread_id, const std::optional<std::string>& user_id);

/// Decodes a snapshot's frame and compares the result with the record beside it.
/// Errors: kCorrupt, kIncompatible, kLimitExceeded (naming CAIRN_STATE_BYTES_MAX); the message names the snapshot.
Result<State> decode_snapshot(const Snapshot& snapshot, const StateLimits& limits);

/// A loaded state and the cost of loading it.
struct ChainedState : LoadedState {
    ChainCost chain;
};

std::shared_ptr<const CachedHead> cached_head(ChainedState loaded);

/// Loads a snapshot. One that seems damaged is read a second time, afresh.
/// Errors: kNotFound, those of decode_snapshot, the store's.
Result<ChainedState> load_snapshot(Store& store, const LoadRequest& request, const StateLimits& limits,
                                   Deadline deadline);

}  // namespace cairn
