// Goal: deltas applied as a chain give the same texts as deltas applied one by one, whatever they copy, within bounded
// memory.
// Method: random histories, decoded as a chain and step by step; chains made to explode in pieces or in memory.

#include "frame/text_chain.h"
#include "frame/delta_frame.h"
#include "support/edits.h"
#include "support/seed.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

namespace cairn {
namespace {

using test::Edits;

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

std::string encode(std::string_view base, std::string_view text) {
    return encode_delta_frame(base, text, {}, kNoLimit).value().value();
}

TEST(TextChain, WithoutADeltaItIsItsBase) {
    for (const std::string text : {"", "{}"}) {
        const TextChain chain(text);
        EXPECT_EQ(chain.text_bytes(), text.size());
        EXPECT_EQ(chain.text(Checksum::of(text)).value(), text);
    }
}

TEST(TextChain, EveryTextOfARandomHistoryIsExact) {
    const std::uint64_t first = test::seed();
    for (std::uint64_t seed = first; seed < first + 30; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        Edits edits(seed);
        const std::string base = edits.text(edits.below(50'000));
        TextChain chain(base);
        std::string text = base;
        for (int step = 0; step < 60; ++step) {
            const std::string next = edits.edited(text, edits.below(8));
            ASSERT_TRUE(chain.apply(encode(text, next), kNoLimit)) << step;
            ASSERT_EQ(chain.text_bytes(), next.size());
            ASSERT_TRUE(chain.text(Checksum::of(next)).value_or("") == next) << step;
            text = next;
        }
    }
}

// Each step makes hundreds of edits all over a large text, like a table of counters. A step must not copy the text.
TEST(TextChain, ScatteredEditsDoNotCopyTheTextAtEachDelta) {
    const std::uint64_t seed = test::seed();
    SCOPED_TRACE(test::replay_line(seed));
    std::mt19937_64 random(seed);
    std::string text(4U << 20, ' ');
    for (char& byte : text) byte = static_cast<char>('a' + random() % 26);
    const std::string base = text;
    TextChain chain(base);
    constexpr int kSteps = 60;
    for (int step = 0; step < kSteps; ++step) {
        std::string next = text;
        for (int edit = 0; edit < 400; ++edit) next.replace(random() % (next.size() - 4), 4, "####");
        ASSERT_TRUE(chain.apply(encode(text, next), kNoLimit));
        text = std::move(next);
    }
    EXPECT_TRUE(chain.text(Checksum::of(text)).value_or("") == text);
    EXPECT_LE(chain.bytes_flattened(), kSteps / 3 * text.size());
}

// Each step repeats the whole text three times with one byte before each, so the number of pieces grows threefold.
TEST(TextChain, PiecesThatMultiplyAreMadeWhole) {
    std::string text = Edits(1).text(300);
    const std::string base = text;
    TextChain chain(base);
    for (int step = 0; step < 12; ++step) {
        std::string next;
        for (const char mark : {'<', '|', '>'}) next += mark + text;
        if (next.size() > 20'000'000) break;
        ASSERT_TRUE(chain.apply(encode(text, next), kNoLimit));
        text = std::move(next);
    }
    EXPECT_TRUE(chain.text(Checksum::of(text)).value() == text);
    EXPECT_GT(chain.bytes_flattened(), 0U) << "the pieces were never made whole";
}

TEST(TextChain, TextsThatWereReplacedAreReleased) {
    Edits edits(2);
    const std::string base = "{}";
    TextChain chain(base);
    std::string text = base;
    for (int step = 0; step < 40; ++step) {
        const std::string next = edits.text(200'000);
        ASSERT_TRUE(chain.apply(encode(text, next), kNoLimit));
        text = next;
    }
    EXPECT_TRUE(chain.text(Checksum::of(text)).value() == text);
    EXPECT_GT(chain.bytes_flattened(), 0U) << "the replaced texts are still held";
}

TEST(TextChain, ARefusedFrameLeavesTheTextAsItWas) {
    const std::string base = Edits(3).text(5000);
    const std::string other = Edits(4).text(7000);
    TextChain chain(base);
    std::string damaged = encode(base, other);
    damaged.back() = static_cast<char>(damaged.back() ^ 1);
    EXPECT_EQ(chain.apply(damaged, kNoLimit).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(chain.apply(encode(base, other), 6999).error().code, ErrorCode::kLimitExceeded);
    EXPECT_TRUE(chain.text(Checksum::of(base)).value() == base);
    EXPECT_TRUE(chain.apply(encode(base, other), 7000));
    EXPECT_TRUE(chain.text(Checksum::of(other)).value() == other);
}

TEST(TextChain, AnotherBaseIsNoticedAtTheEnd) {
    const std::string base = Edits(5).text(5000);
    std::string other = base;
    other[100] = static_cast<char>(other[100] + 1);
    const std::string text = base + "more";
    TextChain chain(other);
    ASSERT_TRUE(chain.apply(encode(base, text), kNoLimit)) << "its copies fit by chance";
    EXPECT_EQ(chain.text(Checksum::of(text)).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace cairn
