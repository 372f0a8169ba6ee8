#pragma once

// The body of a delta frame, after the header that all frames have (frame_header.h). Part of the stored format:
//
//   varint   prefix: number of first bytes that base and text have in common
//   varint   suffix: number of last bytes that base and text have in common
//   varint   2 × copies between these two, + 1 if the zstd blocks have headers
//   copies   each: varint new bytes, then varint start of its range in the base, then varint bytes of that range
//            (the start as distance from the end of the previous range: 2 × distance, or −2 × distance − 1 backwards)
//   rest     all new bytes, one after the other: plain, or as zstd blocks (zstd_codec.h)
//   4        guard of all bytes before
//
// The number of new bytes before the suffix is not stored: it follows from the header's length of the text. The
// checksum of the text is not stored either: the snapshot's record has it, and the decoder's caller passes it. The
// guard finds damage in this frame, wherever in a chain the frame is. The text's checksum finds a wrong base, and a
// frame that is not the record's.

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

/// The context of zstd: this much of the base around the place where the longest new part goes.
ContextRange context_range(FrameKind kind, const std::vector<Copy>& copies, std::size_t base_bytes);

/// Puts all new bytes of the text, one after the other, into `literals`, in place of what it holds.
void collect_literals(std::string_view text, const std::vector<Copy>& copies, std::string& literals);

void put_copies(const std::vector<Copy>& copies, ZstdBlocks form, std::string& frame);

struct ParsedDelta {
    FrameHeader header;
    std::vector<Copy> copies;  ///< As returned by `find_copies`; every range is inside the base.
    std::size_t literal_bytes = 0;
    ZstdBlocks form = ZstdBlocks::kOneBare;
    std::string_view literals;  ///< As stored.
};

/// Fills an empty `delta` with everything but the new bytes, checked against the length of the base. Allocates memory
/// only for copies that the frame holds. Errors: kCorrupt, kIncompatible, kLimitExceeded.
[[nodiscard]] Status parse_delta(std::string_view frame, std::size_t base_bytes, std::uint64_t bytes_max,
                                 ParsedDelta& delta);

}  // namespace cairn
