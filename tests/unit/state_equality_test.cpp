// Goal: two states are equal if and only if their bytes are. `json_equal` is true if and only if they are the same
// JSON, with tokens as written, up to the order of keys. Method: pairs made by hand. Seeded random states with their
// keys permuted (equal), or with one change that only permutes the bytes (not equal). A reference that sorts keys and
// prints decides.

#include <cairn/state.h>

#include "state/state_equality.h"
#include "unit/state_random.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace cairn {
namespace {

using test::JsonNode;
using test::Random;

State parsed(const std::string& text) {
    Result<State> state = State::parse(text);
    EXPECT_TRUE(state.has_value()) << text;
    return state ? *std::move(state) : State();
}

bool equal(const std::string& left, const std::string& right) {
    const State one = parsed(left);
    const State other = parsed(right);
    const bool forth = json_equal(one.text(), other.text());
    EXPECT_EQ(json_equal(other.text(), one.text()), forth) << left << "\n" << right;
    EXPECT_EQ(one == other, one.text() == other.text()) << left << "\n" << right;
    return forth;
}

/// The reference: sorts the members by key, and keeps the order of duplicates.
JsonNode with_keys_sorted(const JsonNode& node) {
    JsonNode sorted{node.token};
    for (const auto& [key, value] : node.children) sorted.children.emplace_back(key, with_keys_sorted(value));
    if (!node.is_object()) return sorted;
    const std::multimap<std::string, JsonNode> by_key(sorted.children.begin(), sorted.children.end());
    sorted.children.assign(by_key.begin(), by_key.end());
    return sorted;
}

TEST(StateEquality, SameTextIsEqual) {
    const State state = parsed(R"({"a":1})");
    EXPECT_EQ(state, state);
    EXPECT_EQ(state, parsed(R"({ "a" : 1 })"));
    EXPECT_EQ(State(), State());
    EXPECT_TRUE(equal(R"({"a":1})", R"({ "a" : 1 })"));
}

TEST(StateEquality, StatesWhoseKeysStandInAnotherOrderAreOthers) {
    EXPECT_NE(parsed(R"({"a":1,"b":2})"), parsed(R"({"b":2,"a":1})"));
}

TEST(JsonEquality, OrderOfKeysDoesNotCount) {
    EXPECT_TRUE(equal(R"({"a":1,"b":2})", R"({"b":2,"a":1})"));
    EXPECT_TRUE(equal(R"({"a":{"x":[1,{"p":1,"q":"z"}],"y":{}},"b":"\"}"})",
                      R"({"b":"\"}","a":{"y":{},"x":[1,{"q":"z","p":1}]}})"));
}

TEST(JsonEquality, TokensAreComparedAsWritten) {
    EXPECT_FALSE(equal(R"({"a":1.0})", R"({"a":1})"));
    EXPECT_FALSE(equal(R"({"a":1.0})", R"({"a":1e0})")) << "of one length and one value";
    EXPECT_FALSE(equal(R"({"a":1.0,"b":10})", R"({"a":10,"b":1.0})"));
    EXPECT_FALSE(equal(R"({"a":"\u00e9"})", R"({"a":"\u00E9"})"));
    EXPECT_FALSE(equal(R"({"\u0061":1,"b":2})", R"({"b":2,"\u0062":1})"));
}

TEST(JsonEquality, PermutedBytesAreNotEnough) {
    EXPECT_FALSE(equal(R"({"a":12})", R"({"a":21})"));
    EXPECT_FALSE(equal(R"({"a":1,"b":2})", R"({"a":2,"b":1})"));
    EXPECT_FALSE(equal(R"({"a":{"c":1},"b":{}})", R"({"a":{},"b":{"c":1}})"));
    EXPECT_FALSE(equal(R"({"a":[{}],"b":{}})", R"({"a":{},"b":[{}]})"));
    EXPECT_FALSE(equal(R"({"a":"1","b":11})", R"({"a":11,"b":"1"})"));
    EXPECT_FALSE(equal(R"({"a":[[1],2]})", R"({"a":[1,[2]]})"));
    EXPECT_FALSE(equal(R"({"a":[[],[]]})", R"({"a":[[[]]],"":1})"));
}

TEST(JsonEquality, OrderInArraysCounts) {
    EXPECT_FALSE(equal(R"({"a":[1,2]})", R"({"a":[2,1]})"));
    EXPECT_FALSE(equal(R"({"a":[{"x":1},{"y":1}]})", R"({"a":[{"y":1},{"x":1}]})"));
}

TEST(JsonEquality, DuplicatesOfOneKeyKeepTheirOrder) {
    EXPECT_TRUE(equal(R"({"k":1,"a":0,"k":2})", R"({"a":0,"k":1,"k":2})"));
    EXPECT_FALSE(equal(R"({"k":1,"a":0,"k":2})", R"({"a":0,"k":2,"k":1})"));
    EXPECT_FALSE(equal(R"({"k":1,"k":1,"j":2})", R"({"k":1,"j":2,"j":1})"));
}

TEST(JsonEquality, RandomStatesAreJudgedAsTheReferenceDoes) {
    std::size_t equal_pairs = 0;
    std::size_t different_pairs = 0;
    for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 3000; ++seed) {
        SCOPED_TRACE(fmt::format("CAIRN_TEST_SEED={}", seed));
        Random random(seed);
        const JsonNode node = test::random_state(random);
        const std::string text = test::normal_text(node);
        ASSERT_TRUE(equal(text, test::normal_text(test::with_keys_permuted(node, random))));

        // Exchange two bytes somewhere. The text has the same bytes then, but it is rarely the same JSON.
        JsonNode other = test::with_keys_permuted(node, random);
        JsonNode* place = &other;
        while (!place->children.empty()) place = &place->children[random.below(place->children.size())].second;
        if (place->token.size() > 2 && place->token.front() != '"') std::swap(place->token[0], place->token[1]);
        JsonNode reversed = node;
        std::reverse(reversed.children.begin(), reversed.children.end());
        for (const JsonNode& candidate : {other, reversed}) {
            const std::string candidate_text = test::normal_text(candidate);
            if (!State::parse(candidate_text)) continue;
            const bool expected =
                test::normal_text(with_keys_sorted(node)) == test::normal_text(with_keys_sorted(candidate));
            ASSERT_EQ(equal(text, candidate_text), expected) << text << "\n" << candidate_text;
            ++(expected ? equal_pairs : different_pairs);
        }
    }
    EXPECT_GT(equal_pairs, 100U);
    EXPECT_GT(different_pairs, 100U);
}

TEST(JsonEquality, AnyExchangeOfTwoBytesIsJudgedAsTheReferenceDoes) {
    const JsonNode sample{
        "{",
        {{"\"a\"", {"[", {{"", {"12"}}, {"", {"21"}}, {"", {"{", {{"\"k\"", {"1"}}, {"\"k\"", {"2"}}}}}}}},
         {"\"b\"", {"{", {{"\"c\"", {"\"xy\""}}, {"\"d\"", {"\"yx\""}}}}},
         {"\"c\"", {"12"}}}};
    const std::string text = test::normal_text(sample);
    // An exchange of two bytes moves no member, so the result is equal only if it is the same text. The one that
    // exchanges two keys is tested by hand.
    const std::string exchanged_keys = R"({"a":[12,21,{"k":1,"k":2}],"c":{"c":"xy","d":"yx"},"b":12})";
    ASSERT_FALSE(equal(text, exchanged_keys));
    for (std::size_t i = 0; i < text.size(); ++i) {
        for (std::size_t j = i + 1; j < text.size(); ++j) {
            std::string changed = text;
            std::swap(changed[i], changed[j]);
            if (!State::parse(changed)) continue;
            ASSERT_EQ(equal(text, changed), text == changed) << changed;
        }
    }
}

TEST(JsonEquality, DeepStatesAreComparedWithoutRecursion) {
    constexpr std::uint32_t kDepth = 200'000;
    std::string left = "{\"a\":";
    std::string right = left;
    for (std::uint32_t i = 0; i < kDepth; ++i) left += "[", right += "[";
    left += R"({"x":1,"y":2})";
    right += R"({"y":2,"x":1})";
    left += std::string(kDepth, ']') + "}";
    right += std::string(kDepth, ']') + "}";
    EXPECT_TRUE(json_equal(left, right));
}

TEST(JsonEquality, ManyKeysAreNotComparedPairByPair) {
    constexpr int kKeys = 200'000;  // Comparing each with each takes 4e10 comparisons, and the test would not end.
    std::string left = "{";
    std::string right = "{";
    for (int i = 0; i < kKeys; ++i) left += "\"key" + std::to_string(i) + "\":1,";
    for (int i = kKeys; i-- > 0;) right += "\"key" + std::to_string(i) + "\":1,";
    left.back() = '}';
    right.back() = '}';
    EXPECT_TRUE(equal(left, right));
}

TEST(JsonEquality, TextsThatLieAreReadInTheirBounds) {
    const std::vector<std::string> lies{R"({"a")",    R"({"a"})", "{]",  "]]]]", "{{{{",  R"({"a":1,"b"})",
                                        R"({,,"":})", R"("a":1)", "{\"", "{}}{", "{:{}:}"};
    for (const std::string& lie : lies) {
        std::string permuted = lie;
        std::ranges::reverse(permuted);
        EXPECT_EQ(json_equal(lie, permuted), json_equal(permuted, lie)) << lie;
        EXPECT_TRUE(json_equal(lie, std::string(lie)));
    }
}

}  // namespace
}  // namespace cairn
