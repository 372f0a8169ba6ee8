#pragma once

// The body of a delta frame, behind the header that all frames have (frame_header.h). Part of the stored format:
//
//   varint   prefix: bytes at the base's begin that the text begins with
//   varint   suffix: bytes at the base's end that the text ends with
//   varint   2 × copies between these two, + 1 if the zstd blocks have headers
//   copies   each: varint bytes that are new, then varint where in the base its range begins, then varint its bytes
//            (the begin as distance from the end of the range before: 2 × distance, or −2 × distance − 1 backwards)
//   rest     all that is new, one after the other: plain, or as zstd blocks (zstd_codec.h)
//   4        guard of all bytes before
//
// How many bytes are new before the suffix is not stored: the header's length of the text tells. Nor is the checksum of
// the text: the snapshot's record has it, and who decodes brings it. The guard finds damage in this frame, wherever in
// a chain it stands; that the base was the right one, and the frame the record's, is found by the text's checksum.

#include "frame/block_match.h"
#include "frame/frame_header.h"
#include "frame/zstd_codec.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

struct ContextRange {
    std::size_t begin = 0;
    std::size_t bytes = 0;
};

/// The context of zstd: so much of the base around the place where the longest new part goes.
ContextRange context_range(FrameKind kind, const std::vector<Copy>& copies, std::size_t base_bytes);

void put_copies(const std::vector<Copy>& copies, ZstdBlocks form, std::string& frame);

struct ParsedDelta {
    FrameHeader header;
    std::vector<Copy> copies;  ///< As `find_copies` gives them; every range lies in the base.
    std::size_t literal_bytes = 0;
    ZstdBlocks form = ZstdBlocks::kOneBare;
    std::string_view literals;  ///< As stored.
};

/// Fills an empty `delta` with everything but the new bytes, checked against the length of the base. Takes memory only
/// for copies that stand there. Errors: kCorrupt, kIncompatible, kLimitExceeded.
[[nodiscard]] Status parse_delta(std::string_view frame, std::size_t base_bytes, std::uint64_t bytes_max,
                                 ParsedDelta& delta);

}  // namespace cairn
