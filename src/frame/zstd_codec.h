#pragma once

// zstd as frames use it. One context a thread for each direction, made at its first use: no allocation per call after.

#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cairn {

/// Compresses into `out` as one zstd frame that states its content size. The bytes written; nothing if it does not fit.
/// Errors: kInternal.
[[nodiscard]] Result<std::optional<std::size_t>> zstd_compress(std::string_view text, std::span<char> out, int level);

/// All that can be known of a zstd frame before memory is taken for what it decodes to.
/// Errors: kCorrupt if it is not exactly one frame of `text_bytes`, or is too short to hold so much.
[[nodiscard]] Status check_zstd_frame(std::string_view zstd_frame, std::uint64_t text_bytes);

/// Decodes a whole frame to exactly `out`. Errors: kCorrupt, kInternal.
[[nodiscard]] Status zstd_decompress(std::string_view zstd_frame, std::span<char> out);

// A zstd frame costs up to 13 bytes around its blocks, which matters where what is new takes 60. A delta frame knows
// the length of the text, so it keeps the blocks only.

enum class ZstdBlocks : std::uint8_t {
    kOneBare,     ///< One compressed block without its header.
    kWithHeader,  ///< Any number of blocks, each with its header of three bytes.
};

/// Appends `text`, compressed with `context` before it, to `out`. Nothing, and `out` as it was, if that does not make
/// it smaller. Errors: kInternal.
[[nodiscard]] Result<std::optional<ZstdBlocks>> zstd_compress_blocks(std::string_view text, std::string_view context,
                                                                     int level, std::string& out);

/// Whether `blocks` can hold `text_bytes`: to be asked before memory is taken for them. Errors: kCorrupt.
[[nodiscard]] Status check_zstd_blocks(std::string_view blocks, ZstdBlocks form, std::uint64_t text_bytes);

/// Decodes to exactly `out`. Errors: kCorrupt, kInternal.
[[nodiscard]] Status zstd_decompress_blocks(std::string_view blocks, ZstdBlocks form, std::string_view context,
                                            std::span<char> out);

}  // namespace cairn
