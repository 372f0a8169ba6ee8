// Goal: the ranges that differ lead exactly from one text to the other, in the order of both.
// Method: texts and edits at the edges; random edits of random bytes, the changes applied and compared.

#include "frame/byte_diff.h"
#include "support/edits.h"
#include "support/seed.h"

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
