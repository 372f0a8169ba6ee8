#pragma once

// The stored form of one state: bytes in, bytes out, no I/O. A frame describes itself, so a store needs no other
// knowledge to read it. A delta frame also needs the text that it was made against (delta_frame.h).

#include <cairn/checksum.h>
#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

/// The kind of a frame's body. Part of the stored format: never renumber. The next free number is 11.
enum class FrameKind : std::uint8_t {
    kFullPlain = 1,      ///< The text itself.
    kFullZstd = 2,       ///< One zstd frame of it.
    kDeltaPlain = 3,     ///< The ranges of the base that are kept, and the new bytes.
    kDeltaZstdWide = 4,  ///< The same, with the new bytes compressed with a part of the base as context.
    kDeltaZstdNear = 5,  ///< The same, with a smaller part as context.
};

/// What the text of a frame is. Part of the stored format: the frame of an opaque state has the kind of its body
/// plus 5.
enum class FrameContent : std::uint8_t {
    kJson,    ///< A normal text.
    kOpaque,  ///< The stored text of an opaque state (state/opaque_text.h).
};

/// Says whether a frame of this kind is decoded against the text of another one.
constexpr bool needs_base(FrameKind kind) noexcept {
    return kind >= FrameKind::kDeltaPlain;
}

struct FrameHeader {
    FrameKind kind = FrameKind::kFullPlain;
    FrameContent content = FrameContent::kJson;
    std::uint64_t text_bytes = 0;           ///< Size of the decoded text.
    std::optional<Checksum> checksum = {};  ///< The decoded text's. For delta frames it is in the snapshot's record.
};

struct FrameOptions {
    FrameContent content = FrameContent::kJson;
    bool compression = true;
    int zstd_level = 1;
    int zstd_level_delta = 6;  ///< For the new bytes of a delta frame: they are few, so more effort is cheap.
    std::size_t compression_bytes_min = 1024;  ///< Shorter texts stay plain in full frames.
};

/// Encodes `text` (a state's stored text, whose checksum the caller has) as a self-contained frame. The frame is plain
/// when compression is off, the text is short, or zstd does not make it smaller.
/// Errors: kInternal (zstd or memory).
[[nodiscard]] Result<std::string> encode_full_frame(std::string_view text, const Checksum& checksum,
                                                    const FrameOptions& options = {});

/// Reads the header without decoding. Errors: kCorrupt, kIncompatible (a later frame version or kind).
[[nodiscard]] Result<FrameHeader> read_frame_header(std::string_view frame);

/// Returns the text. Allocates at most `bytes_max`, whatever the frame claims, and verifies length and checksum.
/// Errors: kCorrupt (damaged, or a delta frame), kIncompatible, kLimitExceeded (a sound one of more than `bytes_max`).
[[nodiscard]] Result<std::string> decode_full_frame(std::string_view frame, std::uint64_t bytes_max);

}  // namespace cairn
