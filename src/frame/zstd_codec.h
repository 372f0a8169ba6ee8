#pragma once

// zstd as frames use it. Each thread has one context per direction, made at its first use; later calls do not allocate.

#include <cairn/error.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cairn {

/// Compresses into `out` as one zstd frame that states its content size. Returns the bytes written; nothing if it does
/// not fit. Errors: kInternal.
[[nodiscard]] Result<std::optional<std::size_t>> zstd_compress(std::string_view text, std::span<char> out, int level);

/// Checks everything that can be known of a zstd frame before memory is allocated for its content.
/// Errors: kCorrupt if it is not exactly one frame of `text_bytes`, or is too short to hold that much.
[[nodiscard]] Status check_zstd_frame(std::string_view zstd_frame, std::uint64_t text_bytes);

/// Decodes a whole frame to exactly `out`. Errors: kCorrupt, kInternal.
[[nodiscard]] Status zstd_decompress(std::string_view zstd_frame, std::span<char> out);

// A zstd frame costs up to 13 bytes around its blocks, which matters when the new bytes take 60. A delta frame knows
// the length of the text, so it keeps only the blocks.

enum class ZstdBlocks : std::uint8_t {
    kOneBare,     ///< One compressed block without its header.
    kWithHeader,  ///< Any number of blocks, each with its header of three bytes.
};

/// Appends `text`, compressed with `context` before it, to `out`. If that does not make it smaller, returns nothing and
/// leaves `out` as it was. Errors: kInternal.
[[nodiscard]] Result<std::optional<ZstdBlocks>> zstd_compress_blocks(std::string_view text, std::string_view context,
                                                                     int level, std::string& out);

/// Checks that `blocks` can hold `text_bytes`: call it before memory is allocated for them. Errors: kCorrupt.
[[nodiscard]] Status check_zstd_blocks(std::string_view blocks, ZstdBlocks form, std::uint64_t text_bytes);

/// Decodes to exactly `out`. Errors: kCorrupt, kInternal.
[[nodiscard]] Status zstd_decompress_blocks(std::string_view blocks, ZstdBlocks form, std::string_view context,
                                            std::span<char> out);

}  // namespace cairn
