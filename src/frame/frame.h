#pragma once

// The stored form of one state: bytes in, bytes out, no I/O. A frame describes itself, so a store needs no other
// knowledge to read it.

#include <cairn/checksum.h>
#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

/// What a frame's body is. Part of the stored format: never renumber.
enum class FrameKind : std::uint8_t {
    kFullPlain = 1,  ///< The normal text itself.
    kFullZstd = 2,   ///< One zstd frame of it.
    // 3 and up: delta frames, which need their base.
};

struct FrameHeader {
    FrameKind kind = FrameKind::kFullPlain;
    std::uint64_t text_bytes = 0;  ///< What it decodes to.
    Checksum checksum;             ///< Of the decoded text.
};

struct FrameOptions {
    bool compression = true;
    int zstd_level = 1;
    std::size_t compression_bytes_min = 1024;  ///< Shorter texts stay plain.
};

/// Encodes `text` (a state's normal text, whose checksum the caller has) self-contained. Plain when compression is
/// off, the text is short, or zstd does not make it smaller.
/// Errors: kInternal (zstd or memory).
[[nodiscard]] Result<std::string> encode_full_frame(std::string_view text, const Checksum& checksum,
                                                    const FrameOptions& options = {});

/// Reads the header without decoding. Errors: kCorrupt, kIncompatible (a later frame version or kind).
[[nodiscard]] Result<FrameHeader> read_frame_header(std::string_view frame);

/// The normal text. Allocates at most `bytes_max`, whatever the frame claims, and verifies length and checksum.
/// Errors: kCorrupt, kIncompatible, kLimitExceeded (claims more than `bytes_max`).
[[nodiscard]] Result<std::string> decode_full_frame(std::string_view frame, std::uint64_t bytes_max);

}  // namespace cairn
