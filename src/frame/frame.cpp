#include "frame/frame.h"

#include "frame/frame_header.h"
#include "frame/zstd_codec.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <span>
#include <stdexcept>
#include <utility>

// The layout of a full frame after the header that all frames have (frame_header.h), part of the stored format:
//
//   bytes    field
//   16       checksum of the decoded text: XXH3-128, canonical
//   rest     body
//     kFullPlain   the text
//     kFullZstd    4 bytes: guard of what follows; then one zstd frame, which states its content size
//
// Every bit of a frame is guarded, but for the content that its kind says, which the record beside it says, too. The
// text's checksum guards the length and a plain body. A zstd frame has bits that do not change its decoded text, so it
// has a check of its own, which also keeps damage away from zstd.

namespace cairn {
namespace {

// ---- encoding ----

std::string full_header(FrameKind kind, std::string_view text, const Checksum& checksum, FrameContent content) {
    std::string header;
    put_frame_header(header, kind, text.size(), content);
    put_checksum(header, checksum);
    return header;
}

std::string plain_frame(std::string_view text, const Checksum& checksum, FrameContent content) {
    const std::string header = full_header(FrameKind::kFullPlain, text, checksum, content);
    std::string frame;
    frame.reserve(header.size() + text.size());
    frame += header;
    frame += text;
    return frame;
}

// Returns an empty frame if it would not be smaller than the plain one.
Result<std::string> zstd_frame(std::string_view text, const Checksum& checksum, const FrameOptions& options) {
    const std::string header = full_header(FrameKind::kFullZstd, text, checksum, options.content);
    const std::size_t body_at = header.size() + kGuardBytes;
    const std::size_t plain_bytes = header.size() + text.size();
    if (plain_bytes <= body_at) return std::string();

    std::string frame;
    resize_for_overwrite(frame, plain_bytes - 1);
    const auto compressed = zstd_compress(text, std::span(frame).subspan(body_at), options.zstd_level);
    if (!compressed) return std::unexpected(compressed.error());
    const std::optional<std::size_t> compressed_bytes = *compressed;
    if (!compressed_bytes) return std::string();
    frame.resize(body_at + *compressed_bytes);
    std::ranges::copy(header, frame.begin());
    std::ranges::copy(guard_of(std::string_view(frame).substr(body_at)), frame.data() + header.size());
    frame.shrink_to_fit();  // it was allocated as large as the text
    return frame;
}

Result<std::string> encode(std::string_view text, const Checksum& checksum, const FrameOptions& options) {
    if (options.compression && text.size() >= options.compression_bytes_min) {
        Result<std::string> compressed = zstd_frame(text, checksum, options);
        if (!compressed || !compressed->empty()) return compressed;
    }
    return plain_frame(text, checksum, options.content);
}

// ---- decoding ----

// Only a consistent frame can exceed the limit: a damaged length is damage.
Result<std::string> decode_plain(const ParsedFrame& frame, std::uint64_t bytes_max) {
    if (frame.body.size() != frame.header.text_bytes) {
        return corrupt_frame_error(
            fmt::format("the text has {} bytes, the header says {}", frame.body.size(), frame.header.text_bytes));
    }
    if (Status status = check_text_limit(frame.header, bytes_max); !status) {
        return std::unexpected(std::move(status.error()));
    }
    return std::string(frame.body);
}

Result<std::string> decode_zstd(const ParsedFrame& frame, std::uint64_t bytes_max) {
    if (frame.body.size() < kGuardBytes) return corrupt_frame_error("cut off before its zstd frame");
    const std::string_view zstd_frame = frame.body.substr(kGuardBytes);
    if (!std::ranges::equal(guard_of(zstd_frame), frame.body.substr(0, kGuardBytes))) {
        return corrupt_frame_error("its zstd frame does not have the stored check");
    }
    if (Status status = check_zstd_frame(zstd_frame, frame.header.text_bytes); !status) {
        return std::unexpected(std::move(status.error()));
    }
    if (Status status = check_text_limit(frame.header, bytes_max); !status) {
        return std::unexpected(std::move(status.error()));
    }
    std::string text;
    resize_for_overwrite(text, frame.header.text_bytes);
    if (Status status = zstd_decompress(zstd_frame, text); !status) return std::unexpected(std::move(status.error()));
    return text;
}

Result<std::string> decode(const ParsedFrame& frame, std::uint64_t bytes_max) {
    const bool is_plain = frame.header.kind == FrameKind::kFullPlain;
    Result<std::string> text = is_plain ? decode_plain(frame, bytes_max) : decode_zstd(frame, bytes_max);
    if (!text) return text;
    if (Status status = check_text(*text, frame.header.checksum.value_or(Checksum{})); !status) {
        return std::unexpected(std::move(status.error()));
    }
    return text;
}

}  // namespace

Result<std::string> encode_full_frame(std::string_view text, const Checksum& checksum, const FrameOptions& options) {
    try {
        return encode(text, checksum, options);
    } catch (const std::bad_alloc&) {
        return frame_memory_error(text.size());
    } catch (const std::length_error&) {
        return frame_memory_error(text.size());
    }
}

Result<FrameHeader> read_frame_header(std::string_view frame) {
    Result<ParsedFrame> parsed = parse_frame(frame);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    return parsed->header;
}

Result<std::string> decode_full_frame(std::string_view frame, std::uint64_t bytes_max) {
    Result<ParsedFrame> parsed = parse_frame(frame);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    if (needs_base(parsed->header.kind)) return corrupt_frame_error("a delta stands where a full frame belongs");
    try {
        return decode(*parsed, bytes_max);
    } catch (const std::bad_alloc&) {
        return frame_memory_error(parsed->header.text_bytes);
    } catch (const std::length_error&) {
        return frame_memory_error(parsed->header.text_bytes);
    }
}

}  // namespace cairn
