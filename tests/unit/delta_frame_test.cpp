// Goal: decode(encode(base, text), base) is `text` for any two texts. A frame's size grows with the change. The layout
// is the promised one.
// Method: round trips over random edits of random texts, and over the edges of every limit in the encoder. The layout
// is read byte by byte. fault/delta_damage_test.cpp tests damage, and delta_trajectory_test.cpp tests recorded states.

#include "frame/delta_frame.h"
#include "frame/block_match.h"
#include "support/edits.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace cairn {
namespace {

using test::Edits;

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

std::string encode(std::string_view base, std::string_view text, const FrameOptions& options = {}) {
    return encode_delta_frame(base, text, options, kNoLimit).value().value();
}

void expect_round_trip(const std::string& base, const std::string& text, const FrameOptions& options = {}) {
    const std::string frame = encode(base, text, options);
    const auto decoded = decode_delta_frame(frame, base, Checksum::of(text), text.size());
    ASSERT_TRUE(decoded) << decoded.error().to_string();
    ASSERT_TRUE(*decoded == text) << "decoded to other text";
    EXPECT_EQ(read_frame_header(frame).value().text_bytes, text.size());
}

// ---- round trips ----

TEST(DeltaFrame, RandomEditsRoundTrip) {
    const std::uint64_t first = test::seed();
    for (std::uint64_t seed = first; seed < first + 1500; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        Edits edits(seed);
        const std::string base = edits.text(edits.below(std::size_t{1} << edits.below(18)));
        const FrameOptions options{.compression = edits.below(8) != 0,
                                   .zstd_level_delta = static_cast<int>(edits.below(10))};
        expect_round_trip(base, edits.edited(base, edits.below(12)), options);
        if (HasFatalFailure()) return;
    }
}

TEST(DeltaFrame, UnrelatedTextsRoundTrip) {
    const std::uint64_t first = test::seed();
    for (std::uint64_t seed = first; seed < first + 200; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        Edits edits(seed);
        expect_round_trip(edits.text(edits.below(20'000)), edits.text(edits.below(20'000)));
        if (HasFatalFailure()) return;
    }
}

TEST(DeltaFrame, EmptyTextsRoundTrip) {
    Edits edits(1);
    for (const std::size_t bytes : {1U, 100U, 100'000U}) {
        const std::string text = edits.text(bytes);
        expect_round_trip("", text);
        expect_round_trip(text, "");
    }
    expect_round_trip("", "");
}

TEST(DeltaFrame, LengthsAroundTheEncodersLimitsRoundTrip) {
    Edits edits(2);
    const std::string base = edits.text(300'000);
    for (const std::size_t around : {12U, 16U, 64U, 2000U, 64U << 10U, 128U << 10U}) {
        for (std::size_t bytes = around - 2; bytes <= around + 2; ++bytes) {
            std::string text = base;
            expect_round_trip(base.substr(0, bytes), text.insert(1000, edits.text(bytes)));
            expect_round_trip(base, text.substr(bytes));
            expect_round_trip(text.substr(0, bytes), base.substr(0, bytes));
        }
    }
}

TEST(DeltaFrame, NewTextOfSeveralZstdBlocksRoundTrips) {
    Edits edits(3);
    std::string added;
    while (added.size() < 900'000) added += edits.text(50'000);
    expect_round_trip("{}", added);
    expect_round_trip(added.substr(0, 400'000), added);
    expect_round_trip(added, std::string(5'000'000, ' ') + added);
}

TEST(DeltaFrame, BasesWithAnIndexOfFullSizeRoundTrip) {
    Edits edits(4);
    std::string base;
    while (base.size() < 9'000'000) base += edits.text(100'000);
    expect_round_trip(base, edits.edited(base, 40));
}

// Only a window of so large a base is indexed at first.
TEST(DeltaFrame, LargeBasesRoundTripWhateverChanged) {
    const std::uint64_t first = test::seed();
    for (std::uint64_t seed = first; seed < first + 8; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        Edits edits(seed);
        std::string base;
        while (base.size() < 1'200'000 + seed % 3 * 400'000) base += edits.text(100'000);
        std::string text = edits.edited(base, edits.below(20));
        if (seed % 4 == 1) text = text.substr(text.size() / 2) + text.substr(0, text.size() / 2);
        if (seed % 4 == 2) text = edits.text(40'000) + text;
        if (seed % 4 == 3) text = text.substr(text.size() / 3);
        expect_round_trip(base, text);
        if (HasFatalFailure()) return;
    }
}

TEST(DeltaFrame, EveryZstdLevelRoundTrips) {
    Edits edits(5);
    const std::string base = edits.text(50'000);
    const std::string text = edits.edited(base, 20) + edits.text(5000);
    for (const int level : {-5, 0, 1, 3, 6, 9, 19}) {
        expect_round_trip(base, text, {.zstd_level_delta = level});
    }
}

// ---- costs ----

// zstd takes a context that begins like this for a trained dictionary.
TEST(DeltaFrame, ABaseThatBeginsLikeADictionaryRoundTrips) {
    const std::string base = "\x37\xA4\x30\xEC" + Edits(20).text(5000);
    expect_round_trip(base, base + base.substr(1000, 50) + Edits(21).text(500));
}

TEST(DeltaFrame, AnEqualTextTakesALineOfBytes) {
    const std::string text = Edits(6).text(500'000);
    EXPECT_LE(encode(text, text).size(), 15);
    EXPECT_LE(encode(std::string(700, 'x'), std::string(700, 'x')).size(), 12);
}

TEST(DeltaFrame, SeveralChangesFarApartCostWhatChanged) {
    std::string base;
    for (unsigned i = 0; i < 20'000; ++i) base += fmt::format(R"({{"id":{},"note":"{:x}"}},)", i, i * 2'654'435'761U);
    std::string text = base;
    text.replace(100, 5, "first");
    text.insert(300'000, R"({"id":"inserted","note":"between"},)");
    text.erase(500'000, 2000);
    std::rotate(text.begin() + 10'000, text.begin() + 14'000, text.begin() + 30'000);
    EXPECT_LE(encode(base, text).size(), 200) << "of " << text.size();
    EXPECT_LE(encode(base, text, {.compression = false}).size(), 200);
}

// Every element has the same long beginning, which is found in the wrong elements, too.
TEST(DeltaFrame, BothEndsOfALargeTextOfAlikeElementsCostWhatChanged) {
    Edits edits(22);
    const auto element = [&](unsigned i) {
        return fmt::format(
                   R"({{"kind":"message","role":"assistant","additional":{{}},"tools":[],"of":"agent","id":{:x},)",
                   i * 2'654'435'761U) +
               edits.text(600);
    };
    std::string middle;
    for (unsigned i = 0; middle.size() < 2'000'000; ++i) middle += element(i);
    const std::string base = "time 1, id abcdefghi" + middle + "version 1";
    const std::string added = element(1'000'000);
    const std::string text = "time 22, id jklmnopqr" + middle + added + "version 22";
    EXPECT_LE(encode(base, text, {.compression = false}).size(), added.size() + 100);
    const std::string removed = "time 22, id jklmnopqr" + middle.substr(300'000) + added + "version 22";
    EXPECT_LE(encode(base, removed, {.compression = false}).size(), added.size() + 100);
}

TEST(DeltaFrame, AFrameThatWouldNotBeSmallerIsNotMade) {
    Edits edits(7);
    const std::string base = edits.text(5000);
    const std::string text = edits.edited(base, 3);
    const std::string frame = encode(base, text);
    EXPECT_EQ(encode_delta_frame(base, text, {}, frame.size()).value(), std::nullopt);
    EXPECT_EQ(encode_delta_frame(base, text, {}, frame.size() + 1).value(), frame);
}

TEST(DeltaFrame, WithoutCompressionTheNewBytesStayPlain) {
    const std::string frame = encode("{}", std::string(5000, 'x'), {.compression = false});
    EXPECT_EQ(read_frame_header(frame).value().kind, FrameKind::kDeltaPlain);
    EXPECT_EQ(read_frame_header(encode("{}", std::string(5000, 'x'))).value().kind, FrameKind::kDeltaZstdWide);
}

TEST(DeltaFrame, OnlyMuchThatIsNewGetsAWideContext) {
    const auto kind_of = [](std::size_t bytes) {
        return read_frame_header(encode("{}", std::string(bytes, 'x'))).value().kind;
    };
    EXPECT_EQ(kind_of(11), FrameKind::kDeltaPlain);
    EXPECT_EQ(kind_of(511), FrameKind::kDeltaZstdNear);
    EXPECT_EQ(kind_of(512), FrameKind::kDeltaZstdWide);
}

TEST(DeltaFrame, NewTextOfEitherContextRoundTrips) {
    Edits edits(9);
    const std::string base = edits.text(60'000);
    for (const std::size_t from : {0U, 1000U, 20'000U, 40'000U, 59'000U}) {
        for (const std::size_t bytes : {60U, 511U, 512U, 3000U}) {
            // The new bytes also occur elsewhere in the base, but in pieces too small to be copied.
            std::string added;
            for (std::size_t at = from; added.size() < bytes; at += 23) added += base.substr(at % 59'000, 12) + '\x01';
            std::string text = base;
            expect_round_trip(base, text.insert(from, added));
        }
    }
}

TEST(DeltaFrame, TheSameTextsGiveTheSameFrameInEveryThread) {
    Edits edits(8);
    std::vector<std::string> texts{edits.text(60'000)};
    for (int i = 0; i < 30; ++i) texts.push_back(edits.edited(texts.back(), 5));
    const auto frames_of = [&texts] {
        std::vector<std::string> frames;
        for (std::size_t i = 1; i < texts.size(); ++i) frames.push_back(encode(texts[i - 1], texts[i]));
        return frames;
    };
    const std::vector<std::string> expected = frames_of();
    std::vector<std::vector<std::string>> found(4);
    {
        std::vector<std::jthread> threads;
        for (auto& frames : found) {
            threads.emplace_back([&frames, &frames_of, &texts] {
                (void)encode(texts.back(), texts.front());  // the thread's earlier work must not matter
                frames = frames_of();
            });
        }
    }
    for (const auto& frames : found) EXPECT_EQ(frames, expected);
}

// ---- format ----

// Today's files must stay readable for ever, so these tests must never be changed to fit the code.
TEST(DeltaFrame, PlainLayoutIsTheDocumentedOne) {
    const std::string base = "{\"step\":1,\"log\":[]}";
    const std::string text = "{\"step\":2,\"log\":[]}";
    const std::string frame = encode(base, text);
    ASSERT_EQ(frame.size(), 2 + 1 + 3 + 1 + 4);
    EXPECT_EQ(frame.substr(0, 7), std::string("\x01\x03\x13\x08\x0A\x00"
                                              "2",
                                              7));
}

TEST(DeltaFrame, AFrameFromTheFirstVersionIsStillRead) {
    const std::string frame(
        "\x01\x03\x13\x08\x0A\x00"
        "2"
        "\x47\x8d\x1f\xac",
        11);
    const std::string text = "{\"step\":2,\"log\":[]}";
    EXPECT_EQ(decode_delta_frame(frame, "{\"step\":1,\"log\":[]}", Checksum::of(text), 19).value_or("unreadable"),
              text);
}

// The same for opaque states: the kind is larger by 5.
TEST(DeltaFrame, LayoutOfOpaqueStatesIsTheDocumentedOne) {
    const std::string base = "step 1, msgpack\x07";
    const std::string text = "step 2, msgpack\x07";
    const auto frame = encode_delta_frame(base, text, {.content = FrameContent::kOpaque}, kNoLimit).value().value();
    ASSERT_EQ(frame.size(), 2 + 1 + 3 + 1 + 4);
    EXPECT_EQ(frame.substr(0, 7), std::string("\x01\x08\x10\x05\x0A\x00"
                                              "2",
                                              7));
    EXPECT_EQ(decode_delta_frame(frame, base, Checksum::of(text), 16).value(), text);

    const std::string changed = Edits(9).text(20'000);
    for (const std::size_t bytes : {100U, 20'000U}) {
        const auto of_json = encode(base, changed.substr(0, bytes));
        const auto of_opaque =
            encode_delta_frame(base, changed.substr(0, bytes), {.content = FrameContent::kOpaque}, kNoLimit)
                .value()
                .value();
        EXPECT_EQ(of_opaque[1], of_json[1] + 5);
        EXPECT_EQ(of_opaque.substr(2, of_opaque.size() - 6), of_json.substr(2, of_json.size() - 6));
    }
}

TEST(DeltaFrame, HeaderTellsKindAndLengthAndLeavesTheChecksumToTheRecord) {
    const std::string text = Edits(9).text(20'000);
    const FrameHeader header = read_frame_header(encode("{}", text)).value();
    EXPECT_TRUE(needs_base(header.kind));
    EXPECT_EQ(header.text_bytes, text.size());
    EXPECT_EQ(header.checksum, std::nullopt);
}

// ---- refusals ----

TEST(DeltaFrame, TextBeyondTheLimitIsRefusedWithBothNumbers) {
    const std::string text(5000, 'x');
    const auto refused = decode_delta_frame(encode("{}", text), "{}", Checksum::of(text), 4999);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kLimitExceeded);
    EXPECT_NE(refused.error().message.find("5000"), std::string::npos);
    EXPECT_NE(refused.error().message.find("4999"), std::string::npos);
}

TEST(DeltaFrame, FullAndDeltaAreNotTakenForEachOther) {
    const std::string text = "{\"step\":2}";
    const std::string full = encode_full_frame(text, Checksum::of(text)).value();
    EXPECT_EQ(decode_delta_frame(full, text, Checksum::of(text), kNoLimit).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(decode_full_frame(encode("{}", text), kNoLimit).error().code, ErrorCode::kCorrupt);
}

// ---- finding equal ranges ----

TEST(BlockMatch, CopiesDescribeTheTextExactly) {
    const std::uint64_t first = test::seed();
    for (std::uint64_t seed = first; seed < first + 300; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        Edits edits(seed);
        const std::string base = edits.text(edits.below(100'000));
        const std::string text = edits.edited(base, edits.below(10));
        std::vector<Copy> copies;
        find_copies(base, text, copies);
        ASSERT_GE(copies.size(), 2);
        ASSERT_EQ(copies.front().literal_bytes, 0);
        std::size_t at = 0;
        for (const Copy& copy : copies) {
            at += copy.literal_bytes;
            ASSERT_EQ(base.substr(copy.source, copy.bytes), text.substr(at, copy.bytes));
            at += copy.bytes;
        }
        ASSERT_EQ(at, text.size());
    }
}

TEST(BlockMatch, CommonEndsAreFoundToTheByte) {
    for (std::size_t bytes = 0; bytes < 100; ++bytes) {
        for (std::size_t equal = 0; equal <= bytes; ++equal) {
            std::string left(bytes, 'x');
            std::string right(bytes, 'x');
            if (equal < bytes) right[equal] = 'y';
            EXPECT_EQ(common_prefix_bytes(left, right + "z"), equal);
            std::ranges::reverse(right);
            EXPECT_EQ(common_suffix_bytes("z" + left, right), equal);
        }
    }
}

}  // namespace
}  // namespace cairn
