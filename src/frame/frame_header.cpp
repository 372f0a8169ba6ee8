#include "frame/frame_header.h"

#include "state/opaque_text.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace cairn {
namespace {

constexpr std::uint8_t kFormatVersion = 1;
constexpr std::size_t kVarintBytesMax = 10;
constexpr std::uint8_t kKinds = std::to_underlying(FrameKind::kDeltaZstdNear);  ///< Of each content, counted from 1.

Checksum take_checksum(std::string_view& bytes) {
    std::uint8_t raw[Checksum::kBytes];
    std::memcpy(raw, bytes.data(), sizeof raw);
    bytes.remove_prefix(sizeof raw);
    return Checksum::from_bytes(raw);
}

}  // namespace

std::array<char, kGuardBytes> guard_of(std::string_view bytes) noexcept {
    std::uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
    std::array<char, kGuardBytes> guard{};
    for (char& byte : guard) {
        byte = static_cast<char>(hash & 0xFFU);
        hash >>= 8U;
    }
    return guard;
}

void put_varint(std::string& bytes, std::uint64_t value) {
    for (; value >= 0x80; value >>= 7U) bytes += static_cast<char>(value | 0x80U);
    bytes += static_cast<char>(value);
}

std::optional<std::uint64_t> take_varint(std::string_view& bytes) noexcept {
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

void put_frame_header(std::string& frame, FrameKind kind, std::uint64_t text_bytes, FrameContent content) {
    frame += static_cast<char>(kFormatVersion);
    frame += static_cast<char>(std::to_underlying(kind) + (content == FrameContent::kOpaque ? kKinds : 0));
    put_varint(frame, text_bytes);
}

Result<ParsedFrame> parse_frame(std::string_view frame) {
    if (frame.size() < 2) return corrupt_frame_error(fmt::format("{} bytes are too few for a header", frame.size()));
    const auto version = static_cast<std::uint8_t>(frame[0]);
    const auto kind = static_cast<std::uint8_t>(frame[1]);
    if (version != kFormatVersion) {
        return fail(ErrorCode::kIncompatible,
                    fmt::format("frame: format version {}, this cairn reads {}", version, kFormatVersion));
    }
    if (kind == 0 || kind > 2 * kKinds) {
        return fail(ErrorCode::kIncompatible,
                    fmt::format("frame: kind {}, this cairn reads 1 to {}", kind, 2 * kKinds));
    }
    const bool is_opaque = kind > kKinds;
    ParsedFrame parsed{.header = {.kind = static_cast<FrameKind>(is_opaque ? kind - kKinds : kind),
                                  .content = is_opaque ? FrameContent::kOpaque : FrameContent::kJson},
                       .body = frame.substr(2)};
    const auto text_bytes = take_varint(parsed.body);
    if (!text_bytes) return corrupt_frame_error("the length in its header cannot be read");
    parsed.header.text_bytes = *text_bytes;
    if (!needs_base(parsed.header.kind)) {
        if (parsed.body.size() < Checksum::kBytes) return corrupt_frame_error("cut off in its header");
        parsed.header.checksum = take_checksum(parsed.body);
    }
    return parsed;
}

void put_checksum(std::string& frame, const Checksum& checksum) {
    const auto bytes = checksum.to_bytes();
    frame.append(bytes.begin(), bytes.end());
}

Status check_text_limit(const FrameHeader& header, std::uint64_t bytes_max) {
    const std::uint64_t beyond = header.text_bytes - std::min(header.text_bytes, bytes_max);
    if (beyond <= (header.content == FrameContent::kOpaque ? kOpaqueTrailerBytesMax : 0)) return {};
    return fail(ErrorCode::kLimitExceeded,
                fmt::format("frame: claims {} bytes of text, the limit is {}", header.text_bytes, bytes_max));
}

Status check_text(std::string_view text, const Checksum& expected) {
    const Checksum found = Checksum::of(text);
    if (found == expected) return {};
    return corrupt_frame_error(
        fmt::format("the text's checksum is {}, it should be {}", found.to_hex(), expected.to_hex()));
}

std::unexpected<Error> corrupt_frame_error(std::string what) {
    return fail(ErrorCode::kCorrupt, "frame: " + std::move(what));
}

std::unexpected<Error> frame_memory_error(std::uint64_t bytes) {
    return fail(ErrorCode::kInternal, fmt::format("frame: no memory for {} bytes", bytes));
}

}  // namespace cairn
