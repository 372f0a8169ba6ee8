#include "frame/delta_frame.h"

#include "frame/delta_layout.h"
#include "frame/short_block.h"
#include "frame/text_chain.h"

#include <new>
#include <stdexcept>
#include <utility>

namespace cairn {
namespace {

// Fewer new bytes than this do not get smaller in a zstd block, which begins with at least this much.
constexpr std::size_t kZstdBytesMin = 12;

// Of so few new bytes, zstd makes nothing smaller than a short block is.
constexpr std::size_t kShortBytes = 64;

// Where states are small, zstd's time counts more than the bytes that its codes would save. Larger states are left to
// zstd: it makes their frames some bytes smaller.
constexpr std::size_t kSmallBaseBytes = 4096;

// Filling zstd's tables with a wide context takes longer than compressing less than this, and saves some bytes of it.
constexpr std::size_t kWideContextLiteralsMin = 512;

// This much new text has hardly anything to do with the base. It is bulk, and gets the effort of full frames.
constexpr std::size_t kBulkBytes = 256U << 10;

constexpr std::size_t kMemoryKept = 1U << 20;  ///< The part of a thread's working memory that is kept between calls.

/// Working memory of one thread.
struct Workspace {
    std::vector<Copy> copies;
    std::string literals;

    void shrink() {
        if (copies.capacity() * sizeof(Copy) > kMemoryKept) std::vector<Copy>().swap(copies);
        if (literals.capacity() > kMemoryKept) std::string().swap(literals);
    }
};

struct Body {
    FrameKind kind = FrameKind::kDeltaPlain;
    ZstdBlocks form = ZstdBlocks::kOneBare;
    std::string_view literals;
};

std::string frame_with(const Body& body, std::size_t text_bytes, FrameContent content,
                       const std::vector<Copy>& copies) {
    constexpr std::size_t kHeaderBytesUsual = 32;
    constexpr std::size_t kCopyBytesUsual = 8;
    std::string frame;
    frame.reserve(kHeaderBytesUsual + copies.size() * kCopyBytesUsual + body.literals.size());
    put_frame_header(frame, body.kind, text_bytes, content);
    put_copies(copies, body.form, frame);
    frame += body.literals;
    const auto guard = guard_of(frame);
    frame.append(guard.data(), guard.size());
    return frame;
}

/// Makes the frame with compressed literals; nothing if that would not be smaller.
Result<std::optional<std::string>> compress(std::string_view base, std::size_t text_bytes, const FrameOptions& options,
                                            const Workspace& work) {
    const std::size_t bytes = work.literals.size();
    const FrameKind kind = bytes < kWideContextLiteralsMin ? FrameKind::kDeltaZstdNear : FrameKind::kDeltaZstdWide;
    const ContextRange range = context_range(kind, work.copies, base.size());
    const std::string_view context = base.substr(range.begin, range.bytes);
    const bool is_small = base.size() < kSmallBaseBytes && kind == FrameKind::kDeltaZstdNear;
    std::string blocks;
    if (is_small && compress_short_block(context, work.literals, blocks)) {
        return frame_with({kind, ZstdBlocks::kOneBare, blocks}, text_bytes, options.content, work.copies);
    }
    if (is_small && bytes < kShortBytes) return std::nullopt;
    const int level = bytes < kBulkBytes ? options.zstd_level_delta : options.zstd_level;
    const auto compressed = zstd_compress_blocks(work.literals, context, level, blocks);
    if (!compressed) return std::unexpected(compressed.error());
    const std::optional<ZstdBlocks> form = *compressed;
    if (!form) return std::nullopt;
    return frame_with({kind, *form, blocks}, text_bytes, options.content, work.copies);
}

Result<std::string> encode(std::string_view base, std::string_view text, const FrameOptions& options, Workspace& work) {
    find_copies(base, text, work.copies);
    collect_literals(text, work.copies, work.literals);
    if (options.compression && work.literals.size() >= kZstdBytesMin) {
        Result<std::optional<std::string>> compressed = compress(base, text.size(), options, work);
        if (!compressed) return std::unexpected(std::move(compressed.error()));
        if (*compressed) return std::move(**compressed);
    }
    return frame_with({.literals = work.literals}, text.size(), options.content, work.copies);
}

}  // namespace

Result<std::optional<std::string>> encode_delta_frame(std::string_view base, std::string_view text,
                                                      const FrameOptions& options, std::size_t bytes_max) {
    try {
        thread_local Workspace work;
        Result<std::string> frame = encode(base, text, options, work);
        work.shrink();
        if (!frame) return std::unexpected(std::move(frame.error()));
        if (frame->size() >= bytes_max) return std::nullopt;
        return std::move(*frame);
    } catch (const std::bad_alloc&) {
        return frame_memory_error(text.size());
    } catch (const std::length_error&) {
        return frame_memory_error(text.size());
    }
}

Result<std::string> decode_delta_frame(std::string_view frame, std::string_view base, const Checksum& expected,
                                       std::uint64_t bytes_max) {
    TextChain chain(base);
    if (Status status = chain.apply(frame, bytes_max); !status) {
        return std::unexpected(std::move(status.error()));
    }
    return chain.text(expected);
}

}  // namespace cairn
