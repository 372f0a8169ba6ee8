#pragma once

// The stored form of one state: bytes in, bytes out, no I/O. A frame describes itself, so a store needs no other
// knowledge to read it; a delta frame also needs the text that it was made against (delta_frame.h).

#include <cairn/checksum.h>
#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

/// What a frame's body is. Part of the stored format: never renumber.
enum class FrameKind : std::uint8_t {
    kFullPlain = 1,      ///< The normal text itself.
    kFullZstd = 2,       ///< One zstd frame of it.
    kDeltaPlain = 3,     ///< Which ranges of the base it keeps, and what is new.
    kDeltaZstdWide = 4,  ///< The same, what is new compressed with a part of the base as context.
    kDeltaZstdNear = 5,  ///< With a smaller part of it.
};

/// Whether a frame of this kind is decoded against the text of another one.
constexpr bool needs_base(FrameKind kind) noexcept {
    return kind >= FrameKind::kDeltaPlain;
}

struct FrameHeader {
    FrameKind kind = FrameKind::kFullPlain;
    std::uint64_t text_bytes = 0;           ///< What it decodes to.
    std::optional<Checksum> checksum = {};  ///< Of the decoded text. Delta frames leave it to the snapshot's record.
};

struct FrameOptions {
    bool compression = true;
    int zstd_level = 1;
    int zstd_level_delta = 6;                  ///< For what is new in a delta frame: small, so more effort is cheap.
    std::size_t compression_bytes_min = 1024;  ///< Shorter texts stay plain in full frames.
};

/// Encodes `text` (a state's normal text, whose checksum the caller has) self-contained. Plain when compression is
/// off, the text is short, or zstd does not make it smaller.
/// Errors: kInternal (zstd or memory).
[[nodiscard]] Result<std::string> encode_full_frame(std::string_view text, const Checksum& checksum,
                                                    const FrameOptions& options = {});

/// Reads the header without decoding. Errors: kCorrupt, kIncompatible (a later frame version or kind).
[[nodiscard]] Result<FrameHeader> read_frame_header(std::string_view frame);

/// The normal text. Allocates at most `bytes_max`, whatever the frame claims, and verifies length and checksum.
/// Errors: kCorrupt (damaged, or a delta frame), kIncompatible, kLimitExceeded (a sound one of more than `bytes_max`).
[[nodiscard]] Result<std::string> decode_full_frame(std::string_view frame, std::uint64_t bytes_max);

}  // namespace cairn
