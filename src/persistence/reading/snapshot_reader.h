#pragma once

// From stored bytes to a state that is proven to be what was saved.

#include "persistence/reading/chain.h"
#include "persistence/save/head_cache.h"

#include <cairn/persistence.h>

#include <memory>
#include <optional>
#include <string_view>

namespace cairn {

/// Whether an error says that what is stored is damaged, rather than that it could not be reached or is too large.
bool is_damage(const Error& error) noexcept;
/// Whether it is about this one snapshot, which is damaged or too large, while others may be read.
bool is_unreadable(const Error& error) noexcept;

/// Whether the snapshot belongs to the thread and the user that the request names, if it does.
bool is_owned(const SnapshotInfo& info, const LoadRequest& request);

/// Whether a self-contained frame is the one of a record with this checksum and size, as far as its header tells.
bool is_described(std::string_view full_frame, const Checksum& checksum, std::uint64_t state_bytes);

/// Checks that the text of a sound frame is what the frame's kind says: JSON in normal text, or an opaque state of the
/// type that the record says.
/// A checksum finds accidents only: who can write the file can write one that fits.
/// Errors: kCorrupt, kInternal, kLimitExceeded (an opaque state: its frame's own limit leaves room for the longest
/// tag).
[[nodiscard]] Status check_decoded(std::string_view frame, std::string_view text, std::string_view state_type,
                                   const StateLimits& limits);

/// `error` as that of a load of the snapshot: named, and with the setting that a limit has.
Error cannot_be_loaded(const SnapshotInfo& info, Error error);

/// " under this owner", if there is one.
std::string_view under_owner(const std::optional<std::string>& thread_id, const std::optional<std::string>& user_id);

/// Decodes a snapshot's frame and holds it against the record beside it.
/// Errors: kCorrupt, kIncompatible, kLimitExceeded (naming CAIRN_STATE_BYTES_MAX); the message names the snapshot.
Result<State> decode_snapshot(const Snapshot& snapshot, const StateLimits& limits);

/// A loaded state, and what loading it cost.
struct ChainedState : LoadedState {
    ChainCost chain;
};

std::shared_ptr<const CachedHead> cached_head(ChainedState loaded);

/// What seems to be damaged is read a second time, afresh.
/// Errors: kNotFound, those of decode_snapshot, the store's.
Result<ChainedState> load_snapshot(Store& store, const LoadRequest& request, const StateLimits& limits,
                                   Deadline deadline);

}  // namespace cairn
