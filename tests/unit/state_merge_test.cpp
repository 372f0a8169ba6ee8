// Goal: a merge patch does what RFC 7396 says, and leaves every token that it does not name as it was written. Pointers
// find what RFC 6901 says.
// Method: the RFCs' own examples; odd tokens, keys and duplicates by hand; seeded random pairs (CAIRN_TEST_SEED=n
// replays), compared with nlohmann's merge_patch; deep and wide texts.

#include "state/state_merge.h"

#include <cairn/state_json.h>

#include "state/json_pointer.h"
#include "state/state_equality.h"
#include "state/state_members.h"
#include "support/seed.h"
#include "unit/state_random.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace cairn {
namespace {

using test::JsonNode;
using test::Random;

State parsed(const std::string& text, const StateLimits& limits = {}) {
    Result<State> state = State::parse(text, limits);
    EXPECT_TRUE(state.has_value()) << text.substr(0, 200);
    return state ? *std::move(state) : State();
}

std::string patched(const std::string& base, const std::string& patch) {
    const Result<State> state = merge_patch(parsed(base), parsed(patch));
    EXPECT_TRUE(state.has_value()) << state.error().message;
    return state ? std::string(state->text()) : "";
}

TEST(StateMerge, TheExamplesOfTheRfcComeOutAsItSays) {
    // Appendix A: the examples whose target and patch are objects.
    EXPECT_EQ(patched(R"({"a":"b"})", R"({"a":"c"})"), R"({"a":"c"})");
    EXPECT_EQ(patched(R"({"a":"b"})", R"({"b":"c"})"), R"({"a":"b","b":"c"})");
    EXPECT_EQ(patched(R"({"a":"b"})", R"({"a":null})"), "{}");
    EXPECT_EQ(patched(R"({"a":"b","b":"c"})", R"({"a":null})"), R"({"b":"c"})");
    EXPECT_EQ(patched(R"({"a":["b"]})", R"({"a":"c"})"), R"({"a":"c"})");
    EXPECT_EQ(patched(R"({"a":"c"})", R"({"a":["b"]})"), R"({"a":["b"]})");
    EXPECT_EQ(patched(R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})"), R"({"a":{"b":"d"}})");
    EXPECT_EQ(patched(R"({"a":[{"b":"c"}]})", R"({"a":[1]})"), R"({"a":[1]})");
    EXPECT_EQ(patched(R"({"e":null})", R"({"a":1})"), R"({"e":null,"a":1})");
    EXPECT_EQ(patched("{}", R"({"a":{"bb":{"ccc":null}}})"), R"({"a":{"bb":{}}})");
    // Section 3.
    EXPECT_EQ(patched(R"({"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},)"
                      R"("tags":["example","sample"],"content":"This will be unchanged"})",
                      R"({"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},)"
                      R"("tags":["example"]})"),
              R"({"title":"Hello!","author":{"givenName":"John"},"tags":["example"],)"
              R"("content":"This will be unchanged","phoneNumber":"+01-123-456-7890"})");
}

TEST(StateMerge, EveryTokenStaysAsItWasWritten) {
    EXPECT_EQ(patched(R"({"n":-0.0,"o":{"big":123456789012345678901234567890,"e":1E400,"x":1},"s":"\ud800\u0000\/é"})",
                      R"({"new":[null,{"k":null},1.0],"o":{"x":1.10,"y":"\u00e9"}})"),
              R"({"n":-0.0,"o":{"big":123456789012345678901234567890,"e":1E400,"x":1.10,"y":"\u00e9"},)"
              R"("s":"\ud800\u0000\/é","new":[null,{"k":null},1.0]})");
}

TEST(StateMerge, AKeyIsFoundByItsMeaningAndKeepsItsSpelling) {
    EXPECT_EQ(patched(R"({"\u0061":1,"b":2,"\ud83d\ude00":3})", R"({"a":4,"\u0062":null,"😀":5})"),
              R"({"\u0061":4,"\ud83d\ude00":5})");
    EXPECT_EQ(patched(R"({"\ud800":1,"\uDBFF":2,"\udc00":3})", R"({"\uD800":4,"\udbff":null})"),
              R"({"\ud800":4,"\udc00":3})");
}

TEST(StateMerge, OfDuplicatesTheLastIsPatchedAndTheOthersGo) {
    EXPECT_EQ(patched(R"({"a":1,"b":2,"a":{"x":3}})", R"({"a":{"y":4}})"), R"({"b":2,"a":{"x":3,"y":4}})");
    EXPECT_EQ(patched(R"({"a":1,"b":2,"a":3})", R"({"a":null})"), R"({"b":2})");
    EXPECT_EQ(patched(R"({"a":1})", R"({"b":1,"a":2,"b":null,"a":3})"), R"({"a":3})");
    EXPECT_EQ(patched(R"({"a":1,"a":2})", R"({"c":3})"), R"({"a":1,"a":2,"c":3})");
}

TEST(StateMerge, AnEmptyPatchChangesNoByte) {
    for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 500; ++seed) {
        Random random(seed);
        const std::string text = test::normal_text(test::random_state(random));
        ASSERT_EQ(patched(text, "{}"), text) << test::replay_line(seed);
    }
}

/// Makes a document with few keys, so that base and patch share some, and without values that nlohmann cannot hold.
JsonNode random_mergeable(Random& random, std::size_t depth) {
    static const std::vector<std::string> kKeys{R"("a")", R"("\u0061")", R"("b")", R"("c")", R"("é")", R"("\u00e9")"};
    static const std::vector<std::string> kScalars{"null", "null", "1", "-2.5", "true", R"("x\n")", R"("}{,:")"};
    if (depth == 0 || random.one_in(3)) return {random.pick(kScalars)};
    JsonNode node{random.one_in(4) ? "[" : "{"};
    for (std::size_t count = random.below(5); count > 0; --count) {
        node.children.emplace_back(node.is_object() ? random.pick(kKeys) : "", random_mergeable(random, depth - 1));
    }
    return node;
}

std::string random_mergeable_state(Random& random) {
    JsonNode node{"{"};
    static const std::vector<std::string> kKeys{R"("a")", R"("b")", R"("\u0062")", R"("c")", R"("d")"};
    for (std::size_t count = random.below(6); count > 0; --count) {
        node.children.emplace_back(random.pick(kKeys), random_mergeable(random, 4));
    }
    return test::normal_text(node);
}

TEST(StateMerge, RandomPatchesMeanWhatNlohmannMakesOfThem) {
    std::size_t changed = 0;
    for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + 5000; ++seed) {
        Random random(seed);
        const std::string base = random_mergeable_state(random);
        const std::string patch = random_mergeable_state(random);
        auto expected = nlohmann::json::parse(base);
        expected.merge_patch(nlohmann::json::parse(patch));
        const std::string merged = patched(base, patch);
        ASSERT_EQ(nlohmann::json::parse(merged), expected) << test::replay_line(seed) << "\n"
                                                           << base << "\n"
                                                           << patch << "\n"
                                                           << merged;
        if (merged != base) ++changed;
    }
    EXPECT_GT(changed, 2000U);
}

std::string nested(std::size_t depth, const std::string& innermost) {
    std::string text;
    for (std::size_t i = 0; i < depth; ++i) text += R"({"a":)";
    return text + innermost + std::string(depth, '}');
}

TEST(StateMerge, DepthCostsNoStack) {
    constexpr std::uint32_t kDepth = 300'000;
    const StateLimits limits{.depth_max = kDepth + 1};
    const State base = parsed(nested(kDepth, R"("old","b":1)"), limits);
    const State patch = parsed(nested(kDepth, R"("new","c":2)"), limits);
    const Result<State> merged = merge_patch(base, patch, limits);
    ASSERT_TRUE(merged.has_value()) << merged.error().message;
    EXPECT_EQ(merged->text(), nested(kDepth, R"("new","b":1,"c":2)"));
}

TEST(StateMerge, FiftyThousandKeysOfAMegabyteAreMerged) {
    constexpr int kKeys = 50'000;
    std::string base = "{";
    std::string patch = "{";
    std::string expected = "{";
    for (int i = 0; i < kKeys; ++i) {
        const std::string_view comma = i == 0 ? "" : ",";
        base += fmt::format(R"({}"key{}":"value {}")", comma, i, i);
        const int backwards = kKeys - 1 - i;
        patch +=
            fmt::format(R"({}"key{}":{})", comma, backwards, backwards % 2 == 0 ? fmt::to_string(backwards) : "null");
        if (i % 2 == 0) expected += fmt::format(R"({}"key{}":{})", comma, i, i);
    }
    EXPECT_GT(base.size(), 1U << 20U);
    EXPECT_EQ(patched(base + "}", patch + "}"), expected + "}");
}

TEST(StateMerge, TheResultIsHeldAgainstTheLimits) {
    const State base = parsed(R"({"a":1})");
    const State patch = parsed(R"({"b":[[1]]})");
    const Result<State> too_large = merge_patch(base, patch, {.bytes_max = 16});
    ASSERT_FALSE(too_large.has_value());
    EXPECT_EQ(too_large.error().code, ErrorCode::kLimitExceeded);
    const Result<State> too_deep = merge_patch(base, patch, {.depth_max = 2});
    ASSERT_FALSE(too_deep.has_value());
    EXPECT_EQ(too_deep.error().code, ErrorCode::kLimitExceeded);
    EXPECT_TRUE(merge_patch(base, patch, {.bytes_max = 17, .depth_max = 3}).has_value());
}

TEST(StateMerge, AStateThatLiesIsRefusedNotMerged) {
    for (const char* lie : {"", "[1]", "{\"a\":1", "}", "nonsense"}) {
        const State state = State::from_normal_text(lie);
        const auto merged = merge_patch(state, parsed(R"({"a":{"b":1}})"));
        ASSERT_FALSE(merged.has_value()) << lie;
        EXPECT_EQ(merged.error().code, ErrorCode::kInternal) << lie;
        EXPECT_NE(merged.error().message.find("cannot be read"), std::string::npos) << merged.error().to_string();
        EXPECT_FALSE(find(state, "/a/0/b").has_value()) << lie;
    }
}

TEST(JsonPointer, TheExamplesOfTheRfcLeadWhereItSays) {
    const State state = parsed(R"({"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6,)"
                               R"(" ":7,"m~n":8})");
    EXPECT_EQ(find(state, ""), state.text());
    EXPECT_EQ(find(state, "/foo"), R"(["bar","baz"])");
    EXPECT_EQ(find(state, "/foo/0"), R"("bar")");
    EXPECT_EQ(find(state, "/foo/1"), R"("baz")");
    EXPECT_EQ(find(state, "/"), "0");
    EXPECT_EQ(find(state, "/a~1b"), "1");
    EXPECT_EQ(find(state, "/c%d"), "2");
    EXPECT_EQ(find(state, "/e^f"), "3");
    EXPECT_EQ(find(state, "/g|h"), "4");
    EXPECT_EQ(find(state, "/i\\j"), "5");
    EXPECT_EQ(find(state, "/k\"l"), "6");
    EXPECT_EQ(find(state, "/ "), "7");
    EXPECT_EQ(find(state, "/m~0n"), "8");
}

TEST(JsonPointer, AMissingPlaceGivesNothing) {
    const State state = parsed(R"({"list":[1,[],{"x":[2,3]}],"empty":[],"s":"text","~1":1,"0":"zero"})");
    for (const char* pointer :
         {"/none", "/list/3", "/list/-", "/list/01", "/list/+1", "/list/", "/list/1/0", "/empty/0", "/s/0", "/list/0/0",
          "/list/99999999999999999999", "list", "/~", "/~2", "/list/0x0"}) {
        EXPECT_FALSE(find(state, pointer).has_value()) << pointer;
    }
    EXPECT_EQ(find(state, "/list/2/x/1"), "3");
    EXPECT_EQ(find(state, "/~01"), "1");
    EXPECT_EQ(find(state, "/0"), "\"zero\"");
}

TEST(JsonPointer, OfDuplicatesTheLastCounts) {
    EXPECT_EQ(find(parsed(R"({"a":{"b":1},"\u0061":{"b":2,"b":3}})"), "/a/b"), "3");
}

TEST(StateMembers, ARightGuessAndAWrongOneReadTheSame) {
    for (const char* guess : {"", "1", "12", "123", "\"12\"", "[1]", "{"}) {
        MemberReader members(R"({"a":12,"b":[1],"c":"1"})");
        std::string read;
        while (const auto key = members.next_key()) read += fmt::format("{}={};", *key, members.take_value(guess));
        EXPECT_EQ(read, R"("a"=12;"b"=[1];"c"="1";)") << guess;
    }
}

TEST(StateMembers, ALoneSurrogateIsFoundByTheUnescapedKey) {
    const State state = parsed(R"({"x\ud800y":1})");
    EXPECT_EQ(state.member(unescaped_key(R"("x\ud800y")")), "1");
    EXPECT_FALSE(state.member("xy").has_value());
}

TEST(StateEquality, ValuesOfAnyKindAreComparedAsWritten) {
    EXPECT_TRUE(json_equal(R"([{"a":1,"b":2}])", R"([{"b":2,"a":1}])"));
    EXPECT_FALSE(json_equal("[1,2]", "[2,1]"));
    EXPECT_FALSE(json_equal("12", "21"));
    EXPECT_FALSE(json_equal("1.0", "1"));
    EXPECT_TRUE(json_equal("\"é\"", "\"é\""));
    EXPECT_FALSE(json_equal("\"ab\"", "\"ba\""));
}

}  // namespace
}  // namespace cairn
