// Goal: the ranges that differ lead exactly from one text to the other, in the order of both.
// Method: texts and edits at the edges; random edits of random bytes, the changes applied and compared.

#include "frame/byte_diff.h"
#include "support/edits.h"
#include "support/seed.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace cairn {
namespace {

using test::Edits;

std::string applied(std::string_view before, std::string_view after) {
    std::string text;
    std::size_t at = 0;
    for (const ByteChange& change : diff_bytes(before, after)) {
        EXPECT_GE(change.before.begin, at);
        EXPECT_FALSE(change.before.is_empty() && change.after.is_empty());
        text += before.substr(at, change.before.begin - at);
        EXPECT_EQ(text.size(), change.after.begin);
        text += after.substr(change.after.begin, change.after.end - change.after.begin);
        at = change.before.end;
    }
    return text.append(before.substr(at));
}

TEST(ByteDiff, NoChangeIsFoundIfAndOnlyIfTheTextsAreEqual) {
    EXPECT_TRUE(diff_bytes("", "").empty());
    EXPECT_TRUE(diff_bytes("same", "same").empty());
    EXPECT_FALSE(diff_bytes("same", "sane").empty());
}

TEST(ByteDiff, ReplacedAddedAndRemovedRangesAreTold) {
    using ::testing::ElementsAre;
    EXPECT_THAT(diff_bytes("one two", "one 2"), ElementsAre(ByteChange{{4, 7}, {4, 5}}));
    EXPECT_THAT(diff_bytes("one two", "one big two"), ElementsAre(ByteChange{{4, 4}, {4, 8}}));
    EXPECT_THAT(diff_bytes("one big two", "one two"), ElementsAre(ByteChange{{4, 8}, {4, 4}}));
    EXPECT_THAT(diff_bytes("", "new"), ElementsAre(ByteChange{{0, 0}, {0, 3}}));
    EXPECT_THAT(diff_bytes("old", ""), ElementsAre(ByteChange{{0, 3}, {0, 0}}));
}

TEST(ByteDiff, ChangesFarApartAreToldApart) {
    const std::string before = Edits(3).text(20'000);
    std::string after = before;
    after.replace(5'000, 10, "twelve bytes");
    after.erase(15'000, 7);
    const auto changes = diff_bytes(before, after);
    ASSERT_EQ(changes.size(), 2U);
    EXPECT_LE(changes[0].before.begin, 5'000U);
    EXPECT_GE(changes[0].before.end, 5'010U);
    EXPECT_EQ(applied(before, after), after);
}

TEST(ByteDiff, WhatMovedIsARemovalAndAnAddition) {
    Edits edits(5);
    const std::string first = edits.text(8'000);
    const std::string second = edits.text(8'000);
    EXPECT_EQ(applied(first + "-" + second, second + "+" + first), second + "+" + first);
}

std::size_t changed_bytes(std::string_view before, std::string_view after) {
    std::size_t bytes = 0;
    for (const ByteChange& change : diff_bytes(before, after)) {
        bytes += change.before.end - change.before.begin + change.after.end - change.after.begin;
    }
    return bytes;
}

// A block that is there twice may be found at the other place. That must not cost the large range that stayed.
TEST(ByteDiff, ABlockThatIsThereTwiceDoesNotHideWhatStayed) {
    Edits edits(11);
    const std::string block = edits.text(128);
    const std::string middle = edits.text(40'000);
    const auto text = [&](std::string_view ends) {
        return fmt::format("HEAD{}{}{}{}{}TAIL", ends, block, middle, block, ends);
    };
    const std::string before = text("1111");
    const std::string after = text("2222");
    EXPECT_EQ(applied(before, after), after);
    EXPECT_LT(changed_bytes(before, after), 1'000U);
}

TEST(ByteDiff, PaddingAtBothEndsDoesNotHideWhatStayed) {
    Edits edits(12);
    const std::string content = edits.text(40'000);
    const auto text = [&](std::string_view ends) {
        return fmt::format("{}{}{}{}{}", ends, std::string(512, '\0'), content, std::string(512, '\0'), ends);
    };
    const std::string before = text("1111");
    const std::string after = text("2222");
    EXPECT_EQ(applied(before, after), after);
    EXPECT_LT(changed_bytes(before, after), 4'000U);
}

// What is inserted ends like what stands before it: the range that stayed then seems to begin earlier.
TEST(ByteDiff, RecordsThatAreInsertedBetweenLikeOnesAreToldApart) {
    Edits edits(13);
    const auto record = [&] { return edits.text(90) + "the same end of each record"; };
    std::string before = edits.text(40);
    std::string after = edits.text(40);
    constexpr int kRecords = 300;
    for (int i = 0; i < kRecords; ++i) {
        const std::string same = record();
        before += same;
        after += same;
        if (i % 30 == 29) after += record();
    }
    before += "1";
    after += "2";
    EXPECT_EQ(applied(before, after), after);
    EXPECT_LT(changed_bytes(before, after), 3'000U);
}

TEST(ByteDiff, RandomEditsAreToldExactly) {
    const std::uint64_t seed = test::seed();
    SCOPED_TRACE(test::replay_line(seed));
    Edits edits(seed);
    for (int i = 0; i < 300 && !HasFailure(); ++i) {
        const std::string before = edits.text(edits.below(30'000));
        const std::string after = edits.edited(before, 1 + edits.below(4));
        EXPECT_EQ(applied(before, after), after);
        EXPECT_EQ(diff_bytes(before, after).empty(), before == after);
    }
}

}  // namespace
}  // namespace cairn
