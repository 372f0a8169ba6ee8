#include "persistence/snapshot_reader.h"

#include "frame/frame.h"

#include <fmt/format.h>

namespace cairn {
namespace {

bool is_owned(const SnapshotInfo& info, const LoadRequest& request) {
    return (!request.thread_id || *request.thread_id == info.thread_id) &&
           (!request.user_id || *request.user_id == info.user_id);
}

std::unexpected<Error> damaged(const SnapshotInfo& info, Error error) {
    error.message = fmt::format("snapshot {} (version {}): {}", info.snapshot_id, info.version, error.message);
    return std::unexpected(std::move(error));
}

}  // namespace

bool is_damage(const Error& error) noexcept {
    return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kIncompatible ||
           error.code == ErrorCode::kLimitExceeded;
}

Result<State> decode_snapshot(const Snapshot& snapshot, const StateLimits& limits) {
    const Result<FrameHeader> header = read_frame_header(snapshot.frame);
    if (!header) return damaged(snapshot.info, header.error());
    if (header->checksum != snapshot.info.checksum || header->text_bytes != snapshot.info.state_bytes) {
        return damaged(snapshot.info, Error{.code = ErrorCode::kCorrupt,
                                            .message = "its frame is not the one that its record describes"});
    }
    Result<std::string> text = decode_full_frame(snapshot.frame, limits.bytes_max);
    if (!text) return damaged(snapshot.info, std::move(text.error()));
    return State::from_normal_text(std::move(*text));
}

Result<LoadedState> load_snapshot(Store& store, const LoadRequest& request, const StateLimits& limits) {
    Result<std::optional<Snapshot>> found = store.get(request.run_id, request.snapshot_id);
    if (!found) return std::unexpected(std::move(found.error()));
    if (!*found || !is_owned((*found)->info, request)) {
        return fail(ErrorCode::kNotFound, request.snapshot_id
                                              ? fmt::format("run \"{}\" has no snapshot \"{}\" under this owner",
                                                            request.run_id, *request.snapshot_id)
                                              : fmt::format("there is no run \"{}\" under this owner", request.run_id));
    }
    Result<State> state = decode_snapshot(**found, limits);
    if (!state) return std::unexpected(std::move(state.error()));
    return LoadedState{.state = std::move(*state), .info = std::move((*found)->info)};
}

}  // namespace cairn
