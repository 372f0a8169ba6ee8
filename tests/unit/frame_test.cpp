// Goal: a text comes back from `encode_full_frame` byte for byte. The frame is small and has the layout that the format
// promises.
// Method: round trips over lengths around every edge of the header, and over texts that compress well, badly and not at
// all. The layout is read byte by byte; errors are compared by their codes. fault/frame_damage_test.cpp tests damage.

#include "frame/frame.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace cairn {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

std::string encode(std::string_view text, const FrameOptions& options = {}) {
    return encode_full_frame(text, Checksum::of(text), options).value();
}

// Makes a text that looks to a compressor like an agent's messages.
std::string repetitive_text(std::size_t bytes) {
    std::string text;
    for (int i = 0; text.size() < bytes; ++i) text += fmt::format(R"({{"role":"tool","content":"step {}"}},)", i);
    text.resize(bytes);
    return text;
}

std::string random_text(std::size_t bytes, std::uint64_t seed) {
    std::mt19937_64 engine(seed);
    std::string text(bytes, '\0');
    for (char& byte : text) byte = static_cast<char>(engine());
    return text;
}

TEST(Frame, EveryLengthAroundAnEdgeRoundTrips) {
    for (const bool compression : {false, true}) {
        for (const std::size_t bytes : {0U, 1U, 2U, 126U, 127U, 128U, 129U, 1023U, 1024U, 1025U, 16383U, 16384U, 16385U,
                                        131071U, 131072U, 131073U, 2097151U, 2097152U, 2097153U}) {
            for (const std::string& text :
                 {repetitive_text(bytes), random_text(bytes, bytes), std::string(bytes, '\0')}) {
                const std::string frame = encode(text, {.compression = compression});
                EXPECT_EQ(decode_full_frame(frame, bytes).value(), text) << bytes << " bytes";
            }
        }
    }
}

TEST(Frame, HeaderTellsKindLengthAndChecksumWithoutDecoding) {
    const std::string text = repetitive_text(50'000);
    const FrameHeader plain = read_frame_header(encode(text, {.compression = false})).value();
    EXPECT_EQ(plain.kind, FrameKind::kFullPlain);
    EXPECT_EQ(plain.text_bytes, text.size());
    EXPECT_EQ(plain.checksum, Checksum::of(text));

    const FrameHeader compressed = read_frame_header(encode(text)).value();
    EXPECT_EQ(compressed.kind, FrameKind::kFullZstd);
    EXPECT_EQ(compressed.text_bytes, text.size());
    EXPECT_EQ(compressed.checksum, Checksum::of(text));
}

// Today's files must stay readable for ever, so this test must never be changed to fit the code.
TEST(Frame, PlainLayoutIsTheDocumentedOne) {
    const std::string text(200, 'x');
    const std::string frame = encode(text, {.compression = false});
    ASSERT_EQ(frame.size(), 1 + 1 + 2 + 16 + text.size());
    EXPECT_EQ(frame.substr(0, 4), std::string("\x01\x01\xC8\x01", 4));  // version, kind, 200 as a varint
    const auto checksum = Checksum::of(text).to_bytes();
    EXPECT_EQ(frame.substr(4, 16), std::string(checksum.begin(), checksum.end()));
    EXPECT_EQ(frame.substr(20), text);
}

TEST(Frame, ZstdLayoutIsTheDocumentedOne) {
    const std::string text = repetitive_text(5000);
    const std::string frame = encode(text);
    EXPECT_EQ(frame.substr(0, 4), std::string("\x01\x02\x88\x27", 4));  // version, kind, 5000 as a varint
    const std::string body = frame.substr(24);  // after the 16 byte checksum and the 4 byte check
    std::string decoded(text.size(), '\0');
    ASSERT_EQ(ZSTD_decompress(decoded.data(), decoded.size(), body.data(), body.size()), text.size());
    EXPECT_EQ(decoded, text);
}

// The frame was written by the first version of the format.
TEST(Frame, AFrameFromTheFirstVersionIsStillRead) {
    const std::string frame(
        "\x01\x01\x02"
        "\xdc\x70\x48\xf8\xf8\x74\x7f\x56\x13\x49\xcd\xe1\x27\x70\x5c\x16"
        "{}",
        21);
    EXPECT_EQ(decode_full_frame(frame, 2).value_or("unreadable"), "{}");
}

// The same for opaque states (state/opaque_text.h): the kind is larger by 5, and nothing else differs.
TEST(Frame, LayoutOfOpaqueStatesIsTheDocumentedOne) {
    const std::string text(200, 'x');
    const std::string plain = encode(text, {.content = FrameContent::kOpaque, .compression = false});
    EXPECT_EQ(plain.substr(0, 4), std::string("\x01\x06\xC8\x01", 4));
    const auto checksum = Checksum::of(text).to_bytes();
    EXPECT_EQ(plain.substr(4, 16), std::string(checksum.begin(), checksum.end()));
    EXPECT_EQ(plain.substr(20), text);

    const std::string compressible = repetitive_text(5000);
    const std::string compressed = encode(compressible, {.content = FrameContent::kOpaque});
    const std::string of_json = encode(compressible);
    EXPECT_EQ(compressed.substr(0, 4), std::string("\x01\x07\x88\x27", 4));
    EXPECT_EQ(compressed.substr(2), of_json.substr(2)) << "all behind the kind is the same";

    for (const std::string& frame : {plain, compressed}) {
        const FrameHeader header = read_frame_header(frame).value();
        EXPECT_EQ(header.content, FrameContent::kOpaque);
        EXPECT_FALSE(needs_base(header.kind));
        EXPECT_EQ(Checksum::of(decode_full_frame(frame, 5000).value()), header.checksum);
    }
    EXPECT_EQ(read_frame_header(of_json).value().content, FrameContent::kJson);
}

TEST(Frame, TheLimitOfAnOpaqueStateLeavesRoomForItsType) {
    const std::string text(1065, 'x');
    const std::string frame = encode(text, {.content = FrameContent::kOpaque});
    EXPECT_EQ(decode_full_frame(frame, 1000).value(), text);
    EXPECT_EQ(decode_full_frame(frame, 999).error().code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(decode_full_frame(frame, kNoLimit).value(), text);
}

TEST(Frame, SmallTextsStayPlain) {
    const std::string text = repetitive_text(1023);
    EXPECT_EQ(read_frame_header(encode(text)).value().kind, FrameKind::kFullPlain);
    EXPECT_EQ(read_frame_header(encode(text + "x")).value().kind, FrameKind::kFullZstd);
}

TEST(Frame, HeaderOfASmallStateTakesNineteenBytes) {
    EXPECT_EQ(encode(R"({"step":1})").size(), 10 + 19);
}

TEST(Frame, TextThatDoesNotGetSmallerStaysPlain) {
    const std::string text = random_text(100'000, 7);
    const std::string frame = encode(text);
    EXPECT_EQ(read_frame_header(frame).value().kind, FrameKind::kFullPlain);
    EXPECT_LE(frame.size(), text.size() + 21);
}

TEST(Frame, CompressedIsNeverLargerThanPlain) {
    for (std::size_t bytes = 0; bytes < 3000; bytes += 7) {
        const std::string text = random_text(bytes, bytes).substr(0, bytes / 2) + repetitive_text(bytes - bytes / 2);
        const FrameOptions eager{.compression_bytes_min = 0};
        EXPECT_LE(encode(text, eager).size(), encode(text, {.compression = false}).size());
        EXPECT_EQ(decode_full_frame(encode(text, eager), bytes).value(), text);
    }
}

TEST(Frame, CompressionMakesRepetitiveTextMuchSmaller) {
    const std::string text = repetitive_text(200'000);
    EXPECT_LT(encode(text).size(), text.size() / 5);
    EXPECT_LT(encode(text).capacity(), text.size() / 5) << "the frame keeps memory that it does not use";
}

TEST(Frame, EveryZstdLevelRoundTrips) {
    const std::string text = repetitive_text(20'000);
    for (const int level : {-5, 1, 3, 9, 19}) {
        EXPECT_EQ(decode_full_frame(encode(text, {.zstd_level = level}), text.size()).value(), text);
    }
}

TEST(Frame, TextBeyondTheLimitIsRefusedWithBothNumbers) {
    const std::string text = repetitive_text(5000);
    for (const bool compression : {false, true}) {
        const std::string frame = encode(text, {.compression = compression});
        EXPECT_EQ(decode_full_frame(frame, 5000).value(), text);
        const auto refused = decode_full_frame(frame, 4999);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kLimitExceeded);
        EXPECT_NE(refused.error().message.find("5000"), std::string::npos);
        EXPECT_NE(refused.error().message.find("4999"), std::string::npos);
    }
}

TEST(Frame, LaterVersionsAndKindsAreIncompatibleNotCorrupt) {
    std::string frame = encode("{}");
    frame[0] = 2;
    EXPECT_EQ(decode_full_frame(frame, kNoLimit).error().code, ErrorCode::kIncompatible);
    EXPECT_EQ(read_frame_header(frame).error().code, ErrorCode::kIncompatible);
    frame[0] = 1;
    frame[1] = 11;
    EXPECT_EQ(decode_full_frame(frame, kNoLimit).error().code, ErrorCode::kIncompatible);
    EXPECT_EQ(read_frame_header(frame).error().code, ErrorCode::kIncompatible);
}

TEST(Frame, AWrongChecksumFromTheCallerIsFoundWhenDecoding) {
    for (const std::size_t bytes : {10U, 10'000U}) {
        const std::string text = repetitive_text(bytes);
        const std::string frame = encode_full_frame(text, Checksum::of("other")).value();
        EXPECT_EQ(decode_full_frame(frame, kNoLimit).error().code, ErrorCode::kCorrupt);
    }
}

TEST(Frame, ErrorsNeverHoldContent) {
    std::string frame = encode(R"({"secret":"swordfish"})");
    frame.back() = 'X';
    const Error error = decode_full_frame(frame, kNoLimit).error();
    EXPECT_EQ(error.to_string().find("swordfish"), std::string::npos);
}

TEST(Frame, ThreadsEncodeAndDecodeSideBySide) {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < 4; ++thread) {
        threads.emplace_back([thread] {
            for (std::size_t i = 0; i < 200; ++i) {
                const std::string text = repetitive_text(1000 + 97 * i + thread);
                EXPECT_EQ(decode_full_frame(encode(text), text.size()).value(), text);
            }
        });
    }
}

}  // namespace
}  // namespace cairn
