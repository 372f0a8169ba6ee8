#pragma once

// The common part of all frames: the header, the integers in it, and the reporting of damage.
//
// The layout, part of the stored format:
//
//   bytes    field
//   1        format version: 1
//   1        kind: `FrameKind` of a normal text; 6 to 10 are the same kinds of an opaque state's stored text. A kind
//            damaged into that of the other content decodes to the same text: the record beside the frame shows it
//   1 to 10  text_bytes: LEB128 (seven bits a byte, lowest first, high bit on all but the last), the shortest form only
//   rest     body
//
// The body of full frames is described in frame.cpp, that of delta frames in delta_layout.h.

#include "frame/frame.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

constexpr std::size_t kGuardBytes = 4;

/// A guard for bytes that the text's checksum does not cover: the low half of their XXH3-64, little endian.
std::array<char, kGuardBytes> guard_of(std::string_view bytes) noexcept;

void put_varint(std::string& bytes, std::uint64_t value);

/// Takes a varint from the front of `bytes`; nothing if it is cut off, longer than needed or beyond 64 bits.
std::optional<std::uint64_t> take_varint(std::string_view& bytes) noexcept;

void put_frame_header(std::string& frame, FrameKind kind, std::uint64_t text_bytes, FrameContent content);

/// Canonical: big endian.
void put_checksum(std::string& frame, const Checksum& checksum);

struct ParsedFrame {
    FrameHeader header;
    std::string_view body;  ///< In a full frame: the bytes after the checksum.
};

/// Errors: kCorrupt, kIncompatible.
[[nodiscard]] Result<ParsedFrame> parse_frame(std::string_view frame);

/// The limit is that of a state's bytes: an opaque state's tag may come on top. Errors: kLimitExceeded.
[[nodiscard]] Status check_text_limit(const FrameHeader& header, std::uint64_t bytes_max);

/// Errors: kCorrupt if `text` does not have the checksum.
[[nodiscard]] Status check_text(std::string_view text, const Checksum& expected);

/// Like `resize`, but does not set new bytes: for a string that is overwritten at once. (libstdc++ 12 can pass a count
/// to the operation of `resize_and_overwrite` that is larger than asked for, and the operation must not throw.)
inline void resize_for_overwrite(std::string& bytes, std::size_t size) {
    bytes.resize_and_overwrite(size, [size](char*, std::size_t) { return size; });
}

std::unexpected<Error> corrupt_frame_error(std::string what);
std::unexpected<Error> frame_memory_error(std::uint64_t bytes);

}  // namespace cairn
