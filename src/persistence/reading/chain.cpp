#include "persistence/reading/chain.h"

#include "frame/delta_frame.h"
#include "state/opaque_text.h"
#include "store/batch_rules.h"

#include <algorithm>

namespace cairn {
namespace {

// Estimates the size of a self-contained frame: it assumes the compression ratio of the chain's front.
std::uint64_t expected_full_bytes(const ChainCost& chain, std::uint64_t text_bytes) {
    if (chain.full_text_bytes == 0) return text_bytes;
    const double ratio = static_cast<double>(chain.full_frame_bytes) / static_cast<double>(chain.full_text_bytes);
    return static_cast<std::uint64_t>(ratio * static_cast<double>(text_bytes));
}

// The largest delta that may be added before the chain outweighs a self-contained frame; 0: none may be added.
std::uint64_t delta_bytes_max(const ChainCost& base, std::uint64_t full_bytes, const ChainLimits& limits) {
    if (base.frames + 1 > std::min(limits.frames_max, kChainFramesUpper)) return 0;
    const std::uint64_t chain_bytes_max = std::max(full_bytes * limits.bytes_percent_max / 100, limits.bytes_always);
    return base.bytes < chain_bytes_max ? std::min(full_bytes, chain_bytes_max - base.bytes) : 0;
}

EncodedState as_delta(std::string frame, const Checksum& checksum, const DeltaBase& base) {
    ChainCost chain = base.chain;
    chain.frames += 1;
    chain.bytes += frame.size();
    return {.frame = std::move(frame),
            .checksum = checksum,
            .base_version = base.version,
            .base_snapshot_id = base.snapshot_id,
            .base_checksum = base.checksum,
            .chain = chain};
}

FrameOptions options_for(const State& state, FrameOptions options) {
    options.content = state.is_opaque() ? FrameContent::kOpaque : FrameContent::kJson;
    if (is_ciphertext(state)) options.compression = false;
    return options;
}

Result<EncodedState> encode_full(const State& state, const Checksum& checksum, const FrameOptions& options) {
    Result<std::string> frame = encode_full_frame(state.stored_text(), checksum, options_for(state, options));
    if (!frame) return std::unexpected(std::move(frame.error()));
    const ChainCost chain{.frames = 1,
                          .bytes = frame->size(),
                          .full_frame_bytes = frame->size(),
                          .full_text_bytes = state.stored_text().size()};
    return EncodedState{
        .frame = std::move(*frame), .checksum = checksum, .base_snapshot_id = {}, .base_checksum = {}, .chain = chain};
}

}  // namespace

Result<ChainCost> chain_cost(const Snapshot& snapshot) {
    const std::string& front = snapshot.bases.empty() ? snapshot.frame : snapshot.bases.front().frame;
    const Result<FrameHeader> header = read_frame_header(front);
    if (!header) return std::unexpected(header.error());
    ChainCost chain{.frames = static_cast<std::uint32_t>(snapshot.bases.size()) + 1,
                    .bytes = snapshot.frame.size(),
                    .full_frame_bytes = front.size(),
                    .full_text_bytes = header->text_bytes};
    for (const BaseFrame& base : snapshot.bases) chain.bytes += base.frame.size();
    return chain;
}

Result<EncodedState> encode_full(const State& state, const FrameOptions& options) {
    return encode_full(state, state.checksum(), options);
}

Result<EncodedState> encode_against(const DeltaBase& base, const State& state, const FrameOptions& options,
                                    const ChainLimits& limits) {
    const Checksum checksum = state.checksum();
    if (is_ciphertext(state) || is_ciphertext(base.state)) return encode_full(state, checksum, options);
    const std::uint64_t full_bytes = expected_full_bytes(base.chain, state.stored_text().size());
    const std::uint64_t bytes_max = delta_bytes_max(base.chain, full_bytes, limits);
    if (bytes_max == 0) return encode_full(state, checksum, options);
    Result<std::optional<std::string>> delta =
        encode_delta_frame(base.state.stored_text(), state.stored_text(), options_for(state, options), bytes_max);
    if (!delta) return std::unexpected(std::move(delta.error()));
    if (!*delta) return encode_full(state, checksum, options);
    // `full_bytes` is an estimate. If the delta comes near it, the self-contained frame is made too, and is used unless
    // the delta is more than a tenth smaller.
    if ((*delta)->size() > full_bytes / 2) {
        Result<EncodedState> full = encode_full(state, checksum, options);
        if (!full || full->frame.size() * 9 / 10 <= (*delta)->size()) return full;
    }
    return as_delta(std::move(**delta), checksum, base);
}

}  // namespace cairn
