#include "frame/frame.h"

#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

// The layout, part of the stored format:
//
//   bytes    field
//   1        format version: 1
//   1        kind: `FrameKind`
//   1 to 10  text_bytes: LEB128 (seven bits a byte, lowest first, high bit on all but the last), the shortest form only
//   16       checksum of the decoded text: XXH3-128, canonical
//   rest     body
//     kFullPlain   the text
//     kFullZstd    4 bytes: the low half of the XXH3-64 of what follows, little endian; then one zstd frame, which
//                  states its content size
//
// No bit of a frame is without a guard. The text's checksum guards the length and a plain body. A zstd frame has bits
// that do not change what it decodes to, so a check of its own guards it; that also keeps damage away from zstd.

namespace cairn {
namespace {

constexpr std::uint8_t kFormatVersion = 1;
constexpr std::size_t kVarintBytesMax = 10;
constexpr std::size_t kHeaderBytesMax = 2 + kVarintBytesMax + Checksum::kBytes;
constexpr std::size_t kZstdCheckBytes = 4;

// A zstd block takes at least 4 bytes (header of 3, one repeated byte) and decodes to at most 128 KiB.
constexpr std::uint64_t kZstdBlockBytesMin = 4;
constexpr std::uint64_t kZstdBlockTextMax = 128U << 10;

std::unexpected<Error> corrupt(std::string what) {
    return fail(ErrorCode::kCorrupt, "frame: " + std::move(what));
}

std::unexpected<Error> out_of_memory(std::uint64_t bytes) {
    return fail(ErrorCode::kInternal, fmt::format("frame: no memory for {} bytes", bytes));
}

// ---- header ----

class HeaderBytes {
public:
    HeaderBytes(FrameKind kind, std::uint64_t text_bytes, const Checksum& checksum) {
        put(kFormatVersion);
        put(static_cast<std::uint8_t>(kind));
        for (; text_bytes >= 0x80; text_bytes >>= 7U) put(static_cast<std::uint8_t>(text_bytes | 0x80U));
        put(static_cast<std::uint8_t>(text_bytes));
        for (const std::uint8_t byte : checksum.to_bytes()) put(byte);
    }
    std::string_view view() const { return {bytes_.data(), size_}; }

private:
    void put(std::uint8_t byte) { bytes_[size_++] = static_cast<char>(byte); }

    std::array<char, kHeaderBytesMax> bytes_;
    std::size_t size_ = 0;
};

// Takes a varint off the front of `bytes`; nothing if it is cut off, longer than needed or beyond 64 bits.
std::optional<std::uint64_t> take_varint(std::string_view& bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < std::min(bytes.size(), kVarintBytesMax); ++i) {
        const auto byte = static_cast<std::uint8_t>(bytes[i]);
        if (i == kVarintBytesMax - 1 && byte > 1) return std::nullopt;
        value |= static_cast<std::uint64_t>(byte & 0x7FU) << (7 * i);
        if ((byte & 0x80U) != 0) continue;
        if (byte == 0 && i > 0) return std::nullopt;
        bytes.remove_prefix(i + 1);
        return value;
    }
    return std::nullopt;
}

Checksum take_checksum(std::string_view& bytes) {
    std::uint8_t raw[Checksum::kBytes];
    std::memcpy(raw, bytes.data(), sizeof raw);
    bytes.remove_prefix(sizeof raw);
    return Checksum::from_bytes(raw);
}

struct ParsedFrame {
    FrameHeader header;
    std::string_view body;
};

Result<ParsedFrame> parse_frame(std::string_view frame) {
    if (frame.size() < 2) return corrupt(fmt::format("{} bytes are too few for a header", frame.size()));
    const auto version = static_cast<std::uint8_t>(frame[0]);
    const auto kind = static_cast<std::uint8_t>(frame[1]);
    if (version != kFormatVersion) {
        return fail(ErrorCode::kIncompatible,
                    fmt::format("frame: format version {}, this cairn reads {}", version, kFormatVersion));
    }
    if (kind != std::to_underlying(FrameKind::kFullPlain) && kind != std::to_underlying(FrameKind::kFullZstd)) {
        return fail(ErrorCode::kIncompatible, fmt::format("frame: kind {}, this cairn reads 1 and 2", kind));
    }
    std::string_view rest = frame.substr(2);
    const auto text_bytes = take_varint(rest);
    if (!text_bytes) return corrupt("the length in its header cannot be read");
    if (rest.size() < Checksum::kBytes) return corrupt("cut off in its header");
    const Checksum checksum = take_checksum(rest);
    return ParsedFrame{
        .header = {.kind = static_cast<FrameKind>(kind), .text_bytes = *text_bytes, .checksum = checksum},
        .body = rest};
}

// ---- zstd ----

// One context a thread, made at its first use: no allocation per call after that.
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

std::array<char, kZstdCheckBytes> zstd_check(std::string_view zstd_frame) {
    std::uint64_t hash = XXH3_64bits(zstd_frame.data(), zstd_frame.size());
    std::array<char, kZstdCheckBytes> check{};
    for (char& byte : check) {
        byte = static_cast<char>(hash & 0xFFU);
        hash >>= 8U;
    }
    return check;
}

// ---- encoding ----

std::string plain_frame(std::string_view text, const Checksum& checksum) {
    const HeaderBytes header(FrameKind::kFullPlain, text.size(), checksum);
    std::string frame;
    frame.reserve(header.view().size() + text.size());
    frame += header.view();
    frame += text;
    return frame;
}

// Empty if that is not smaller than the plain frame.
Result<std::string> zstd_frame(std::string_view text, const Checksum& checksum, int level) {
    ZSTD_CCtx* context = compression_context();
    if (context == nullptr) return out_of_memory(text.size());
    const HeaderBytes header(FrameKind::kFullZstd, text.size(), checksum);
    const std::size_t check_at = header.view().size();
    const std::size_t body_at = check_at + kZstdCheckBytes;
    const std::size_t plain_bytes = check_at + text.size();
    if (plain_bytes <= body_at) return std::string();

    std::size_t compressed = 0;
    std::string frame;
    frame.resize_and_overwrite(plain_bytes - 1, [&](char* data, std::size_t size) {
        compressed = ZSTD_compressCCtx(context, data + body_at, size - body_at, text.data(), text.size(), level);
        return ZSTD_isError(compressed) == 0 ? body_at + compressed : 0;
    });
    if (ZSTD_getErrorCode(compressed) == ZSTD_error_dstSize_tooSmall) return std::string();
    if (ZSTD_isError(compressed) != 0) {
        return fail(ErrorCode::kInternal, "frame: zstd cannot compress", ZSTD_getErrorName(compressed));
    }
    std::ranges::copy(header.view(), frame.begin());
    std::ranges::copy(zstd_check(std::string_view(frame).substr(body_at)), frame.data() + check_at);
    frame.shrink_to_fit();  // it was made as large as the text
    return frame;
}

Result<std::string> encode(std::string_view text, const Checksum& checksum, const FrameOptions& options) {
    if (options.compression && text.size() >= options.compression_bytes_min) {
        Result<std::string> compressed = zstd_frame(text, checksum, options.zstd_level);
        if (!compressed || !compressed->empty()) return compressed;
    }
    return plain_frame(text, checksum);
}

// ---- decoding ----

Status verify(std::string_view text, const Checksum& wanted) {
    const Checksum found = Checksum::of(text);
    if (found == wanted) return {};
    return corrupt(fmt::format("the text's checksum is {}, the header says {}", found.to_hex(), wanted.to_hex()));
}

Result<std::string> decode_plain(const ParsedFrame& frame) {
    if (frame.body.size() != frame.header.text_bytes) {
        return corrupt(
            fmt::format("the text has {} bytes, the header says {}", frame.body.size(), frame.header.text_bytes));
    }
    if (Status status = verify(frame.body, frame.header.checksum); !status) return std::unexpected(status.error());
    return std::string(frame.body);
}

// All that can be known of a zstd frame before memory is taken for what it decodes to.
Status check_zstd(std::string_view zstd_frame, std::uint64_t text_bytes) {
    if (ZSTD_findFrameCompressedSize(zstd_frame.data(), zstd_frame.size()) != zstd_frame.size()) {
        return corrupt("its body is not exactly one zstd frame");
    }
    if (ZSTD_getFrameContentSize(zstd_frame.data(), zstd_frame.size()) != text_bytes) {
        return corrupt("its zstd frame states another length than its header");
    }
    if (text_bytes / kZstdBlockTextMax > zstd_frame.size() / kZstdBlockBytesMin) {
        return corrupt(
            fmt::format("{} bytes cannot hold the {} that its header claims", zstd_frame.size(), text_bytes));
    }
    return {};
}

Result<std::string> decode_zstd(const ParsedFrame& frame) {
    if (frame.body.size() < kZstdCheckBytes) return corrupt("cut off before its zstd frame");
    const std::string_view zstd_frame = frame.body.substr(kZstdCheckBytes);
    if (!std::ranges::equal(zstd_check(zstd_frame), frame.body.substr(0, kZstdCheckBytes))) {
        return corrupt("its zstd frame does not have the stored check");
    }
    if (Status status = check_zstd(zstd_frame, frame.header.text_bytes); !status) {
        return std::unexpected(status.error());
    }
    ZSTD_DCtx* context = decompression_context();
    if (context == nullptr) return out_of_memory(frame.header.text_bytes);

    std::size_t decoded = 0;
    std::string text;
    text.resize_and_overwrite(frame.header.text_bytes, [&](char* data, std::size_t size) {
        decoded = ZSTD_decompressDCtx(context, data, size, zstd_frame.data(), zstd_frame.size());
        return decoded == size ? size : 0;
    });
    if (ZSTD_isError(decoded) != 0) {
        return fail(ErrorCode::kCorrupt, "frame: zstd cannot decompress its body", ZSTD_getErrorName(decoded));
    }
    if (decoded != frame.header.text_bytes) {
        return corrupt(fmt::format("the text has {} bytes, the header says {}", decoded, frame.header.text_bytes));
    }
    if (Status status = verify(text, frame.header.checksum); !status) return std::unexpected(status.error());
    return text;
}

Result<std::string> decode(const ParsedFrame& frame) {
    return frame.header.kind == FrameKind::kFullPlain ? decode_plain(frame) : decode_zstd(frame);
}

}  // namespace

Result<std::string> encode_full_frame(std::string_view text, const Checksum& checksum, const FrameOptions& options) {
    try {
        return encode(text, checksum, options);
    } catch (const std::bad_alloc&) {
        return out_of_memory(text.size());
    } catch (const std::length_error&) {
        return out_of_memory(text.size());
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
    const std::uint64_t claimed = parsed->header.text_bytes;
    if (claimed > bytes_max) {
        return fail(ErrorCode::kLimitExceeded,
                    fmt::format("frame: claims {} bytes of text, the limit is {}", claimed, bytes_max));
    }
    try {
        return decode(*parsed);
    } catch (const std::bad_alloc&) {
        return out_of_memory(claimed);
    } catch (const std::length_error&) {
        return out_of_memory(claimed);
    }
}

}  // namespace cairn
