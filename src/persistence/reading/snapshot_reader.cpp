#include "persistence/reading/snapshot_reader.h"

#include "frame/frame.h"
#include "frame/text_chain.h"
#include "state/normal_text.h"
#include "state/opaque_text.h"

#include <fmt/format.h>

namespace cairn {
namespace {

constexpr std::string_view kAdviceForSnapshot =
    "Check the snapshot's id; the run's history (`cairn log --run RUN`) lists what there is.";

std::unexpected<Error> damaged_snapshot_error(const SnapshotInfo& info, Error error) {
    return std::unexpected(unloadable_snapshot_error(info, std::move(error)));
}

std::unexpected<Error> foreign_type_error() {
    return fail(ErrorCode::kCorrupt, "its state is not of the type that its record says");
}

// Applies the frames that the snapshot needs, then its own, and compares the result with the record beside it.
Result<std::string> decode_text(const Snapshot& snapshot, std::uint64_t bytes_max) {
    const SnapshotInfo& info = snapshot.info;
    const Status described = check_described(
        snapshot.frame, {.checksum = info.checksum, .state_bytes = info.state_bytes, .state_type = info.state_type});
    if (!described) return std::unexpected(described.error());
    if (snapshot.bases.empty()) return decode_full_frame(snapshot.frame, bytes_max);
    const Result<std::string> base = decode_full_frame(snapshot.bases.front().frame, bytes_max);
    if (!base) return base;
    TextChain chain(*base);
    for (std::size_t i = 1; i < snapshot.bases.size(); ++i) {
        if (Status status = chain.apply(snapshot.bases[i].frame, bytes_max); !status) {
            return std::unexpected(std::move(status.error()));
        }
    }
    if (Status status = chain.apply(snapshot.frame, bytes_max); !status) {
        return std::unexpected(std::move(status.error()));
    }
    return chain.text(info.checksum);
}

Result<ChainedState> load_once(Store& store, const LoadRequest& request, const StateLimits& limits, Deadline deadline,
                               Store::Reading reading) {
    Result<std::optional<Snapshot>> found = store.get(request.run_id, request.snapshot_id, deadline, reading);
    if (!found) return std::unexpected(std::move(found.error()));
    if (!*found || !is_owned((*found)->info, request)) {
        const std::string_view owner = under_owner(request.thread_id, request.user_id);
        if (!request.snapshot_id) {
            return fail(ErrorCode::kNotFound, fmt::format("there is no run \"{}\"{}", request.run_id, owner));
        }
        return std::unexpected(advise({.code = ErrorCode::kNotFound,
                                       .message = fmt::format("run \"{}\" has no snapshot \"{}\"{}", request.run_id,
                                                              *request.snapshot_id, owner)},
                                      std::string(kAdviceForSnapshot)));
    }
    Result<State> state = decode_snapshot(**found, limits);
    if (!state) return std::unexpected(std::move(state.error()));
    const Result<ChainCost> chain = chain_cost(**found);
    if (!chain) return std::unexpected(chain.error());
    return ChainedState{{.state = std::move(*state), .info = std::move((*found)->info)}, *chain};
}

}  // namespace

bool is_owned(const SnapshotInfo& info, const LoadRequest& request) {
    return (!request.thread_id || *request.thread_id == info.thread_id) &&
           (!request.user_id || *request.user_id == info.user_id);
}

bool is_damage(const Error& error) noexcept {
    return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kIncompatible;
}

bool is_unreadable(const Error& error) noexcept {
    return is_damage(error) || error.code == ErrorCode::kLimitExceeded;
}

std::string_view under_owner(const std::optional<std::string>& thread_id, const std::optional<std::string>& user_id) {
    return thread_id || user_id ? " under this owner" : "";
}

Status check_described(std::string_view frame, const RecordedState& record) {
    const Result<FrameHeader> header = read_frame_header(frame);
    if (!header) return {};
    const bool is_opaque = !record.state_type.empty();
    if ((header->content == FrameContent::kOpaque) != is_opaque) return foreign_type_error();
    const std::uint64_t trailer_bytes = is_opaque ? trailer_bytes_of(record.state_type) : 0;
    if (header->text_bytes == record.state_bytes + trailer_bytes &&
        header->checksum.value_or(record.checksum) == record.checksum) {
        return {};
    }
    return fail(ErrorCode::kCorrupt, "its frame is not the one that its record describes");
}

Status check_decoded(std::string_view text, std::string_view state_type, const StateLimits& limits) {
    if (state_type.empty()) return check_stored_text(text);
    if (Status sound = check_opaque_text(text); !sound) return sound;
    const OpaqueText parts = parts_of(text);
    if (parts.type_tag != state_type) return foreign_type_error();
    if (parts.bytes.size() <= limits.bytes_max) return {};
    return fail(ErrorCode::kLimitExceeded,
                fmt::format("the state has {} bytes, the limit is {}", parts.bytes.size(), limits.bytes_max));
}

Error unloadable_snapshot_error(const SnapshotInfo& info, Error error) {
    const std::string_view remedy = error.code == ErrorCode::kLimitExceeded ? " (CAIRN_STATE_BYTES_MAX)" : "";
    error.message =
        fmt::format("snapshot {} (version {}): {}{}", info.snapshot_id, info.version, error.message, remedy);
    return error;
}

Result<State> decode_snapshot(const Snapshot& snapshot, const StateLimits& limits) {
    if (const std::string& damage = snapshot.info.damage; !damage.empty()) {
        return damaged_snapshot_error(snapshot.info, {.code = ErrorCode::kCorrupt, .message = damage});
    }
    Result<std::string> text = decode_text(snapshot, limits.bytes_max);
    if (!text) return damaged_snapshot_error(snapshot.info, std::move(text.error()));
    const std::string& state_type = snapshot.info.state_type;
    if (Status sound = check_decoded(*text, state_type, limits); !sound) {
        return damaged_snapshot_error(snapshot.info, std::move(sound.error()));
    }
    return state_type.empty() ? State::from_normal_text(std::move(*text)) : State::from_opaque_text(std::move(*text));
}

std::shared_ptr<const CachedHead> cached_head(ChainedState loaded) {
    return std::make_shared<const CachedHead>(
        CachedHead{.info = std::move(loaded.info), .state = std::move(loaded.state), .chain = loaded.chain});
}

Result<ChainedState> load_snapshot(Store& store, const LoadRequest& request, const StateLimits& limits,
                                   Deadline deadline) {
    Result<ChainedState> loaded = load_once(store, request, limits, deadline, Store::Reading::kUsual);
    if (loaded || !is_damage(loaded.error())) return loaded;
    return load_once(store, request, limits, deadline, Store::Reading::kAfresh);
}

}  // namespace cairn
