#define ZSTD_STATIC_LINKING_ONLY  // for the name of one parameter, see `set_up`
#include "frame/zstd_codec.h"

#include "frame/frame_header.h"

#include <fmt/format.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <array>
#include <memory>

namespace cairn {
namespace {

// A zstd block takes at least 4 bytes (a header of 3, one repeated byte) and decodes to at most 128 KiB.
constexpr std::uint64_t kBlockBytesMin = 4;
constexpr std::uint64_t kBlockTextMax = 128U << 10;
constexpr std::size_t kBlockHeaderBytes = 3;
constexpr std::uint32_t kCompressedBlock = 2;
constexpr std::string_view kDictionaryMagic = "\x37\xA4\x30\xEC";

constexpr std::size_t kScratchBytesKept = 1U << 20;  ///< Scratch memory that a thread keeps between calls.

struct FreeContext {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

ZSTD_CCtx* compression_context() {
    thread_local std::unique_ptr<ZSTD_CCtx, FreeContext> context;
    if (!context) context.reset(ZSTD_createCCtx());
    return context.get();
}

ZSTD_DCtx* decompression_context() {
    thread_local std::unique_ptr<ZSTD_DCtx, FreeContext> context;
    if (!context) context.reset(ZSTD_createDCtx());
    return context.get();
}

/// Memory of this thread. It holds only whole zstd frames, and only during a call.
std::string& scratch() {
    thread_local std::string bytes;
    return bytes;
}

void give_back_scratch() {
    if (scratch().capacity() > kScratchBytesKept) std::string().swap(scratch());
}

std::unexpected<Error> compression_error(std::size_t code) {
    return fail(ErrorCode::kInternal, "frame: zstd cannot compress", ZSTD_getErrorName(code));
}

Status check_decoded(std::size_t decoded, std::size_t wanted) {
    if (ZSTD_isError(decoded) != 0) {
        return fail(ErrorCode::kCorrupt, "frame: zstd cannot decompress its body", ZSTD_getErrorName(decoded));
    }
    if (decoded == wanted) return {};
    return corrupt_frame_error(fmt::format("zstd decodes {} bytes of the {} that its header claims", decoded, wanted));
}

// ---- blocks ----

std::size_t bytes_before_blocks(std::string_view zstd_frame) {
    constexpr std::size_t kMagicBytes = 4;
    constexpr std::size_t kContentSizeBytes[] = {0, 2, 4, 8};
    const auto descriptor = static_cast<std::uint8_t>(zstd_frame[kMagicBytes]);
    const bool single_segment = (descriptor & 0x20U) != 0;
    std::size_t content_size_bytes = kContentSizeBytes[descriptor >> 6U];
    if (content_size_bytes == 0 && single_segment) content_size_bytes = 1;
    return kMagicBytes + 1 + (single_segment ? 0 : 1) + content_size_bytes;
}

std::uint32_t block_header(std::string_view blocks) {
    std::uint32_t header = 0;
    for (std::size_t i = 0; i < kBlockHeaderBytes; ++i) {
        header |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(blocks[i])) << (8 * i);
    }
    return header;
}

bool is_last_compressed(std::uint32_t header) {
    return header % 8 == (kCompressedBlock << 1U | 1U);
}

// Small contexts are filled fastest in chains; zstd's own choice is rows. Older or newer versions may not know the
// parameter, which only costs time.
void set_up(ZSTD_CCtx* context, int level) {
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_useRowMatchFinder, ZSTD_ps_disable);
}

// Restores the header that `zstd_compress_blocks` cut off, with the sizes in the widest form.
void put_zstd_header(std::string& frame, std::uint64_t text_bytes) {
    constexpr std::string_view kMagicAndDescriptor{"\x28\xB5\x2F\xFD\xE0", 5};  // single segment, 8 bytes of size
    frame.assign(kMagicAndDescriptor);
    for (std::size_t i = 0; i < sizeof text_bytes; ++i) frame += static_cast<char>(text_bytes >> (8 * i) & 0xFFU);
}

void put_block_header(std::string& frame, std::size_t block_bytes) {
    const auto header = static_cast<std::uint32_t>(block_bytes << 3U) | kCompressedBlock << 1U | 1U;
    for (std::size_t i = 0; i < kBlockHeaderBytes; ++i) frame += static_cast<char>(header >> (8 * i) & 0xFFU);
}

// `ZSTD_DCtx_refPrefix` makes a dictionary of 27 kB for every prefix, which can cost as much as decoding what follows.
// The other way takes the prefix directly, unless its first bytes mark it as a trained dictionary.
std::size_t decompress_after(ZSTD_DCtx* context, std::string_view prefix, std::string_view frame, std::span<char> out) {
    if (!prefix.starts_with(kDictionaryMagic)) {
        return ZSTD_decompress_usingDict(context, out.data(), out.size(), frame.data(), frame.size(), prefix.data(),
                                         prefix.size());
    }
    ZSTD_DCtx_refPrefix(context, prefix.data(), prefix.size());
    const std::size_t decoded = ZSTD_decompressDCtx(context, out.data(), out.size(), frame.data(), frame.size());
    ZSTD_DCtx_refPrefix(context, nullptr, 0);
    return decoded;
}

}  // namespace

Result<std::optional<std::size_t>> zstd_compress(std::string_view text, std::span<char> out, int level) {
    ZSTD_CCtx* context = compression_context();
    if (context == nullptr) return frame_memory_error(text.size());
    const std::size_t bytes = ZSTD_compressCCtx(context, out.data(), out.size(), text.data(), text.size(), level);
    if (ZSTD_getErrorCode(bytes) == ZSTD_error_dstSize_tooSmall) return std::nullopt;
    if (ZSTD_isError(bytes) != 0) return compression_error(bytes);
    return bytes;
}

Status check_zstd_frame(std::string_view zstd_frame, std::uint64_t text_bytes) {
    if (ZSTD_findFrameCompressedSize(zstd_frame.data(), zstd_frame.size()) != zstd_frame.size()) {
        return corrupt_frame_error("its body is not exactly one zstd frame");
    }
    if (ZSTD_getFrameContentSize(zstd_frame.data(), zstd_frame.size()) != text_bytes) {
        return corrupt_frame_error("its zstd frame states another length than its header");
    }
    return check_zstd_blocks(zstd_frame, ZstdBlocks::kWithHeader, text_bytes);
}

Status zstd_decompress(std::string_view zstd_frame, std::span<char> out) {
    ZSTD_DCtx* context = decompression_context();
    if (context == nullptr) return frame_memory_error(out.size());
    return check_decoded(ZSTD_decompressDCtx(context, out.data(), out.size(), zstd_frame.data(), zstd_frame.size()),
                         out.size());
}

Result<std::optional<ZstdBlocks>> zstd_compress_blocks(std::string_view text, std::string_view context_text, int level,
                                                       std::string& out) {
    ZSTD_CCtx* context = compression_context();
    if (context == nullptr) return frame_memory_error(text.size());
    set_up(context, level);
    ZSTD_CCtx_refPrefix(context, context_text.data(), context_text.size());
    std::string& frame = scratch();
    frame.clear();
    resize_for_overwrite(frame, ZSTD_compressBound(text.size()));
    const std::size_t bytes = ZSTD_compress2(context, frame.data(), frame.size(), text.data(), text.size());
    if (ZSTD_isError(bytes) != 0) return compression_error(bytes);

    std::string_view blocks(frame.data(), bytes);
    blocks.remove_prefix(bytes_before_blocks(blocks));
    const bool bare = is_last_compressed(block_header(blocks));
    if (bare) blocks.remove_prefix(kBlockHeaderBytes);
    const bool smaller = blocks.size() < text.size();
    if (smaller) out += blocks;
    give_back_scratch();
    if (!smaller) return std::nullopt;
    return bare ? ZstdBlocks::kOneBare : ZstdBlocks::kWithHeader;
}

Status check_zstd_blocks(std::string_view blocks, ZstdBlocks form, std::uint64_t text_bytes) {
    const std::uint64_t blocks_max = form == ZstdBlocks::kOneBare ? 1 : blocks.size() / kBlockBytesMin + 1;
    const std::uint64_t blocks_needed = text_bytes / kBlockTextMax + (text_bytes % kBlockTextMax != 0 ? 1 : 0);
    if (blocks_needed > blocks_max || (form == ZstdBlocks::kOneBare && blocks.size() >= kBlockTextMax)) {
        return corrupt_frame_error(
            fmt::format("{} bytes of zstd cannot hold the {} that its header claims", blocks.size(), text_bytes));
    }
    return {};
}

Status zstd_decompress_blocks(std::string_view blocks, ZstdBlocks form, std::string_view context_text,
                              std::span<char> out) {
    ZSTD_DCtx* context = decompression_context();
    if (context == nullptr) return frame_memory_error(out.size());
    std::string& frame = scratch();
    put_zstd_header(frame, out.size());
    if (form == ZstdBlocks::kOneBare) put_block_header(frame, blocks.size());
    frame += blocks;
    const std::size_t decoded = decompress_after(context, context_text, frame, out);
    give_back_scratch();
    return check_decoded(decoded, out.size());
}

}  // namespace cairn
