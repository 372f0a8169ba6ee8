// Goal: what `compress_short_block` writes is a block of zstd's format, which zstd itself decodes to the text. It is
// small where the text repeats its context, and is left to zstd where that would be smaller.
// Method: zstd decodes the blocks of random edits, of texts at the edges of the codes, and of distances that recur.

#include "frame/short_block.h"
#include "frame/short_matches.h"
#include "frame/zstd_codec.h"
#include "support/edits.h"
#include "support/seed.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace cairn {
namespace {

using test::Edits;

/// Compresses and expects that zstd decodes the same. Returns the block; empty if none was made.
std::string block_of(std::string_view context, std::string_view text) {
    std::string block;
    if (!compress_short_block(context, text, block)) {
        EXPECT_TRUE(block.empty());
        return {};
    }
    EXPECT_LT(block.size(), text.size());
    EXPECT_TRUE(check_zstd_blocks(block, ZstdBlocks::kOneBare, text.size()));
    std::string decoded(text.size(), '\0');
    const Status status = zstd_decompress_blocks(block, ZstdBlocks::kOneBare, context, decoded);
    EXPECT_TRUE(status) << status.error().to_string();
    EXPECT_TRUE(decoded == text) << "decoded to other text";
    return block;
}

/// Bytes that repeat neither themselves nor others.
std::string noise(std::size_t bytes, std::uint32_t seed) {
    std::string text;
    for (std::size_t i = 0; i < bytes; ++i) {
        seed = seed * 1'664'525U + 1'013'904'223U;
        text += static_cast<char>(seed >> 24U);
    }
    return text;
}

TEST(ShortBlock, ZstdDecodesTheBlocksOfRandomEdits) {
    const std::uint64_t first = test::seed();
    std::size_t made = 0;
    for (std::uint64_t seed = first; seed < first + 3000; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        Edits edits(seed);
        const std::string context = edits.text(edits.below(std::size_t{1} << edits.below(13)));
        const std::string text = edits.edited(context.substr(edits.below(context.size() + 1)), edits.below(6));
        made += block_of(context, text.substr(0, edits.below(3000))).empty() ? 0U : 1U;
        if (HasFailure()) return;
    }
    EXPECT_GT(made, 300);
}

TEST(ShortBlock, EveryLengthOfAMatchIsCoded) {
    const std::string context = noise(5000, 1);
    for (std::size_t bytes = 4; bytes <= 3100; bytes += bytes < 400 ? 1 : 97) {
        const std::string block = block_of(context, noise(5, 2) + context.substr(3, bytes) + noise(3, 3));
        EXPECT_EQ(block.empty(), bytes < 8) << bytes;
        if (HasFailure()) return;
    }
}

TEST(ShortBlock, EveryNumberOfLiteralBytesIsCoded) {
    const std::string context = noise(1000, 1);
    for (std::size_t bytes = 0; bytes <= kShortBlockLiteralsMax; ++bytes) {
        const std::string literals = noise(bytes, 7);
        EXPECT_FALSE(block_of(context, literals + context.substr(100, 50)).empty()) << bytes;
        EXPECT_FALSE(block_of(context, context.substr(100, 50) + literals).empty()) << bytes;
        if (HasFailure()) return;
    }
}

TEST(ShortBlock, EveryDistanceIsCodedAndRecurringOnesTakeLess) {
    const std::string context = noise(7000, 1);
    for (std::size_t source = 0; source + 40 <= context.size(); source += 7) {
        EXPECT_FALSE(block_of(context, noise(4, 2) + context.substr(source, 40)).empty());
        if (HasFailure()) return;
    }
    std::string same = context.substr(900, 400);
    std::string other;
    for (std::size_t at = 20; at < same.size(); at += 20) {
        same[at] = static_cast<char>(same[at] + 1);
        other += context.substr(at * 16, 19) + noise(1, static_cast<std::uint32_t>(at));
    }
    const std::string block = block_of(context, same);
    ASSERT_FALSE(block.empty());
    EXPECT_LT(block.size() + 20, block_of(context, other).size());
}

TEST(ShortBlock, TextsThatRepeatThemselvesAreCodedWithoutAContext) {
    EXPECT_LE(block_of("", std::string(3000, 'x')).size(), 10);
    EXPECT_LE(block_of("{", R"({"a":1,"b":2},{"a":1,"b":2},{"a":1,"b":2},{"a":1,"b":2})").size(), 25);
    EXPECT_FALSE(block_of(std::string(100, 'y'), std::string(100, 'y')).empty());
}

// A base may be an opaque state, so it may be anything.
TEST(ShortBlock, AContextThatBeginsLikeATrainedDictionaryIsAContextLikeAnyOther) {
    const std::string context = "\x37\xA4\x30\xEC" + noise(500, 1);
    EXPECT_FALSE(block_of(context, context.substr(0, 100) + noise(9, 2) + context.substr(300, 100)).empty());
}

TEST(ShortBlock, MoreThanAHundredAndTwentyEightMatchesAreCoded) {
    const std::string context = noise(4000, 1);
    std::string text;
    for (std::size_t i = 0; i < 300; ++i) text += context.substr(i * 7919 % 3900, 6 + i % 9);
    EXPECT_FALSE(block_of(context, text).empty());
}

TEST(ShortBlock, ManyNewBytesAreLeftToZstd) {
    const std::string context = noise(1000, 1);
    EXPECT_FALSE(block_of(context, context.substr(0, 300) + noise(kShortBlockLiteralsMax, 2)).empty());
    EXPECT_TRUE(block_of(context, context.substr(0, 300) + noise(kShortBlockLiteralsMax + 1, 2)).empty());
    EXPECT_TRUE(block_of(context, noise(40, 3)).empty());
}

TEST(ShortBlock, NothingIsMadeOfTooFewOrTooManyBytes) {
    EXPECT_TRUE(block_of("aaaaaaaaaaaa", "aaaaaaa").empty());
    const std::string context(kShortWindowBytesMax - 20, 'a');
    EXPECT_FALSE(block_of(context, std::string(20, 'a')).empty());
    EXPECT_TRUE(block_of(context, std::string(21, 'a')).empty());
}

TEST(ShortBlock, OnlyTheArgumentsDecideTheBlock) {
    Edits edits(11);
    const std::string context = edits.text(3000);
    const std::string text = context.substr(500, 100) + "new" + context.substr(1000, 120);
    const std::string block = block_of(context, text);
    for (const std::size_t bytes : {10U, 3000U, 7000U}) {
        block_of(noise(bytes, 5), noise(200, 6));
        EXPECT_EQ(block_of(context, text), block);
    }
    std::string behind = "before";
    EXPECT_TRUE(compress_short_block(context, text, behind));
    EXPECT_EQ(behind, "before" + block);
}

}  // namespace
}  // namespace cairn
