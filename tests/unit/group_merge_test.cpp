// Goal: the changes of a group's steps are merged member by member. Nothing is lost silently, and every token stays as
// written. The built-in mergers do what their names say.
// Method: groups made by hand for each rule and each error. Seeded random groups (CAIRN_TEST_SEED=n replays), compared
// with a reference that works on maps of members. Deep texts, and texts whose keys were chosen to collide, compared
// with others of the same size: the thread's CPU time may differ by a generous factor.

#include "pipeline/merge/group_merge.h"

#include "pipeline/merge/mergers.h"
#include "support/hostile_texts.h"
#include "support/seed.h"
#include "unit/state_random.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <stdexcept>

namespace cairn {
namespace {

using test::Random;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using Decision = Result<std::optional<std::string>>;

State parsed(const std::string& text) {
    Result<State> state = State::parse(text);
    EXPECT_TRUE(state.has_value()) << text;
    return state ? *std::move(state) : State();
}

/// Merges the results of steps named a, b, c, …
Result<State> merge(const std::string& base, const std::vector<std::string>& texts, MergePolicy policy,
                    const Merger& merger = {}, const StateLimits& limits = {}) {
    std::vector<Changed> results;
    for (const std::string& text : texts) {
        results.push_back({std::string(1, static_cast<char>('a' + results.size())), parsed(text)});
    }
    const Stage stage{.steps = {}, .on_conflict = policy, .merger = "mine"};
    return merge_results(parsed(base), results, stage, merger ? &merger : nullptr, limits);
}

std::string merged(const std::string& base, const std::vector<std::string>& texts,
                   MergePolicy policy = MergePolicy::kFail, const Merger& merger = {}) {
    const Result<State> state = merge(base, texts, policy, merger);
    EXPECT_TRUE(state.has_value()) << state.error().to_string();
    return state ? std::string(state->text()) : "";
}

Error refused(const std::string& base, const std::vector<std::string>& texts, MergePolicy policy = MergePolicy::kFail,
              const Merger& merger = {}) {
    const Result<State> state = merge(base, texts, policy, merger);
    EXPECT_FALSE(state.has_value());
    return state ? Error{} : state.error();
}

TEST(GroupMerge, ChangesAdditionsAndRemovalsOfEachStepAreMerged) {
    EXPECT_EQ(merged(R"({"x":1,"y":2,"z":3})",
                     {R"({"x":10,"y":2,"z":3})", R"({"x":1,"y":2,"b":[1.0],"z":3})", R"({"c":-0.0,"x":1,"z":3})"}),
              R"({"x":10,"z":3,"b":[1.0],"c":-0.0})");
}

TEST(GroupMerge, TokensOfEveryStateStayAsWritten) {
    EXPECT_EQ(merged(R"({"\u0061":1E400,"big":123456789012345678901234567890,"s":"\ud800"})",
                     {R"({"a":1.10,"big":123456789012345678901234567890,"s":"\ud800"})",
                      R"({"\u0061":1E400,"big":123456789012345678901234567890,"s":"\u0000\/"})"}),
              R"({"\u0061":1.10,"big":123456789012345678901234567890,"s":"\u0000\/"})");
}

TEST(GroupMerge, WithoutResultsOrChangesItIsTheBase) {
    EXPECT_EQ(merged(R"({"x":1})", {}), R"({"x":1})");
    EXPECT_EQ(merged(R"({"x":1})", {R"({"x":1})", R"({"x":1})"}), R"({"x":1})");
}

TEST(GroupMerge, TheOnlyStateThatChangedIsTakenAsItIs) {
    EXPECT_EQ(merged(R"({"x":1,"y":2})", {R"({"x":1,"y":2})", R"({"y":2,"n":0,"x":1})"}), R"({"y":2,"n":0,"x":1})");
}

TEST(GroupMerge, AnotherOrderInsideAValueIsNoChange) {
    EXPECT_EQ(merged(R"({"o":{"a":1,"b":[2]},"x":0})",
                     {R"({"o":{"b":[2],"a":1},"x":0,"n":1})", R"({"o":{"a":1,"b":[3]},"x":0})"}),
              R"({"o":{"a":1,"b":[3]},"x":0,"n":1})");
}

TEST(GroupMerge, TheSameChangeTwiceIsNoConflict) {
    EXPECT_EQ(merged(R"({"x":1,"r":1})", {R"({"x":{"p":1,"q":2}})", R"({"x":{"q":2,"p":1},"n":1})"}),
              R"({"x":{"p":1,"q":2},"n":1})");
}

TEST(GroupMerge, AConflictNamesTheMemberAndTheStepsButNoContent) {
    const Error two =
        refused(R"({"x":"before"})", {R"({"x":"secret"})", R"({"x":"before","n":1})", R"({"x":"other"})"});
    EXPECT_EQ(two.code, ErrorCode::kConflict);
    EXPECT_THAT(two.message, HasSubstr(R"(steps "a" and "c" both changed the member "x", each in its own way)"));
    EXPECT_THAT(two.message, Not(HasSubstr("secret")));
    const Error three = refused("{}", {R"({"n":1})", R"({"n":2})", R"({"n":1})"});
    EXPECT_THAT(three.message, HasSubstr(R"(steps "a", "b" and "c" all changed the member "n")"));
}

TEST(GroupMerge, RemovingWhatAnotherChangesIsAConflict) {
    EXPECT_EQ(refused(R"({"x":1,"y":1})", {R"({"y":1})", R"({"x":2,"y":1})"}).code, ErrorCode::kConflict);
    EXPECT_EQ(merged(R"({"x":1,"y":1})", {R"({"x":2,"y":1})", R"({"y":1})"}, MergePolicy::kLast), R"({"y":1})");
}

TEST(GroupMerge, TheLastStepThatChangedTheMemberWins) {
    EXPECT_EQ(merged(R"({"x":1})", {R"({"x":2,"n":0})", R"({"x":3})", R"({"x":1,"m":0})"}, MergePolicy::kLast),
              R"({"x":3,"n":0,"m":0})");
}

TEST(GroupMerge, AMergerIsAskedOnceForEachConflict) {
    std::vector<MemberConflict> asked;
    const Merger keep = [&](const MemberConflict& conflict) -> Decision {
        asked.push_back(conflict);
        return conflict.member == "x" ? std::optional<std::string>(" [ 7 , 1.0 ]") : std::nullopt;
    };
    EXPECT_EQ(merged(R"({"x":1,"y":1,"z":1})",
                     {R"({"x":2,"y":1,"z":1,"n":1})", R"({"x":1,"y":2,"z":1,"n":2})", R"({"y":1,"z":2})"},
                     MergePolicy::kMerger, keep),
              R"({"x":[7,1.0],"y":2,"z":2})");
    ASSERT_EQ(asked.size(), 2U);
    EXPECT_EQ(asked[0].member, "x");
    EXPECT_EQ(asked[0].before, "1");
    EXPECT_THAT(asked[0].candidates, ElementsAre("2", std::nullopt));
    EXPECT_THAT(asked[0].steps, ElementsAre("a", "c"));
    EXPECT_EQ(asked[1].member, "n");
    EXPECT_EQ(asked[1].before, std::nullopt);
}

TEST(GroupMerge, AMergersAnswerMustBeOneJsonValue) {
    for (const char* answer : {"", "1,\"y\":2", "1}", "nope", "1 2", "}", "{\"a\":1", "\"\xFF\""}) {
        const Merger bad = [&](const MemberConflict&) -> Decision { return answer; };
        const Error error = refused(R"({"x":1})", {R"({"x":2})", R"({"x":3})"}, MergePolicy::kMerger, bad);
        EXPECT_EQ(error.code, ErrorCode::kInvalidState) << answer;
        EXPECT_THAT(error.message, HasSubstr("merger \"mine\" gave a value"));
        EXPECT_THAT(error.message, HasSubstr("member \"x\""));
    }
}

TEST(GroupMerge, AMergerThatFailsThrowsOrIsNotThereIsAnError) {
    const std::vector<std::string> texts{R"({"x":2})", R"({"x":3})"};
    const Merger failing = [](const MemberConflict&) -> Decision { return fail(ErrorCode::kNotFound, "no rule"); };
    const Error failed = refused(R"({"x":1})", texts, MergePolicy::kMerger, failing);
    EXPECT_EQ(failed.code, ErrorCode::kNotFound);
    ASSERT_NE(failed.cause, nullptr);
    EXPECT_EQ(failed.cause->message, "no rule");
    const Merger throwing = [](const MemberConflict&) -> Decision { throw std::runtime_error("boom"); };
    const Error thrown = refused(R"({"x":1})", texts, MergePolicy::kMerger, throwing);
    EXPECT_EQ(thrown.code, ErrorCode::kInternal);
    ASSERT_NE(thrown.cause, nullptr);
    EXPECT_EQ(thrown.cause->detail, "boom");
    EXPECT_EQ(refused(R"({"x":1})", texts, MergePolicy::kMerger).code, ErrorCode::kInvalidArgument);
}

TEST(GroupMerge, TheResultIsHeldAgainstTheLimits) {
    const auto state = merge("{}", {R"({"a":1})", R"({"b":2})"}, MergePolicy::kFail, {}, {.bytes_max = 12});
    ASSERT_FALSE(state.has_value());
    EXPECT_EQ(state.error().code, ErrorCode::kLimitExceeded);
    EXPECT_TRUE(merge("{}", {R"({"a":1})", R"({"b":2})"}, MergePolicy::kFail, {}, {.bytes_max = 13}).has_value());
}

using Members = std::map<std::string, std::string>;

std::string text_of(const Members& members) {
    std::string text;
    for (const auto& [key, value] : members) text += fmt::format("{}\"{}\":{}", text.empty() ? "" : ",", key, value);
    return "{" + text + "}";
}

Members members_of(const State& state) {
    Members members;
    for (char key = 'a'; key <= 'h'; ++key) {
        if (const auto value = state.member(std::string(1, key))) members[std::string(1, key)] = std::string(*value);
    }
    return members;
}

Members randomly_changed(Members members, Random& random) {
    static const std::vector<std::string> kValues{"1", "1.0", "{}", "[1]", "\"}\\\"\"", "null"};
    for (char key = 'a'; key <= 'h'; ++key) {
        if (!random.one_in(4)) continue;
        if (random.one_in(3)) {
            members.erase(std::string(1, key));
        } else {
            members[std::string(1, key)] = random.pick(kValues);
        }
    }
    return members;
}

std::optional<std::string> value_in(const Members& members, const std::string& key) {
    const auto found = members.find(key);
    return found == members.end() ? std::nullopt : std::optional(found->second);
}

/// The reference. Returns the members under kLast, and whether kFail must refuse.
std::pair<Members, bool> reference(const Members& base, const std::vector<Members>& copies) {
    Members last;
    bool is_conflict = false;
    for (char letter = 'a'; letter <= 'h'; ++letter) {
        const std::string key(1, letter);
        std::optional<std::string> value = value_in(base, key);
        std::set<std::optional<std::string>> changes;
        for (const Members& copy : copies) {
            const auto changed = value_in(copy, key);
            if (changed == value_in(base, key)) continue;
            changes.insert(changed);
            value = changed;
        }
        if (changes.size() > 1) is_conflict = true;
        if (value) last[key] = *value;
    }
    return {last, is_conflict};
}

TEST(GroupMerge, RandomGroupsComeOutAsTheReferenceSays) {
    std::size_t conflicts = 0;
    constexpr std::size_t kGroups = 3000;
    for (std::uint64_t seed = test::first_seed(); seed < test::first_seed() + kGroups; ++seed) {
        SCOPED_TRACE(test::replay_line(seed));
        Random random(seed);
        const Members base = randomly_changed(randomly_changed({}, random), random);
        std::vector<Members> copies;
        std::vector<std::string> texts;
        for (std::size_t count = 1 + random.below(3); count > 0; --count) {
            copies.push_back(randomly_changed(base, random));
            texts.push_back(text_of(copies.back()));
        }
        const auto [last, is_conflict] = reference(base, copies);
        const auto by_last = merge(text_of(base), texts, MergePolicy::kLast);
        ASSERT_TRUE(by_last.has_value());
        ASSERT_EQ(members_of(*by_last), last);
        const auto strict = merge(text_of(base), texts, MergePolicy::kFail);
        ASSERT_EQ(strict.has_value(), !is_conflict);
        if (strict) {
            ASSERT_EQ(members_of(*strict), last);
        }
        conflicts += is_conflict ? 1 : 0;
    }
    EXPECT_GT(conflicts, kGroups / 10);
    EXPECT_LT(conflicts, kGroups * 9 / 10);
}

std::string appended(const std::string& base, const std::vector<std::string>& texts) {
    return merged(base, texts, MergePolicy::kMerger, append_lists);
}

TEST(AppendMerger, TakesWhatEachStepAppendedInStepOrder) {
    EXPECT_EQ(appended(R"({"l":[1,{"a":1,"b":2}]})", {R"({"l":[1,{"b":2,"a":1},"x","y"]})",
                                                      R"({"l":[1,{"a":1,"b":2},1.0]})", R"({"l":[1,{"a":1,"b":2}]})"}),
              R"({"l":[1,{"a":1,"b":2},"x","y",1.0]})");
    EXPECT_EQ(appended("{}", {R"({"l":["x"]})", R"({"l":[]})", R"({"l":["y",2]})"}), R"({"l":["x","y",2]})");
    EXPECT_EQ(appended(R"({"l":[]})", {R"({"l":["x"]})", R"({"l":["y"]})"}), R"({"l":["x","y"]})");
}

TEST(AppendMerger, RefusesWhatIsNotTheOldListWithMoreBehind) {
    for (const char* text : {R"({"l":[2,1,3]})", R"({"l":[1]})", R"({"l":"[1,2,3]"})", R"({})", R"({"l":[1,22]})"}) {
        const Error error = refused(R"({"l":[1,2]})", {R"({"l":[1,2,3]})", text}, MergePolicy::kMerger, append_lists);
        EXPECT_EQ(error.code, ErrorCode::kConflict) << text;
        ASSERT_NE(error.cause, nullptr) << text;
        EXPECT_THAT(error.cause->message, HasSubstr("step \"b\"")) << text;
        EXPECT_THAT(error.cause->message, HasSubstr("list \"l\"")) << text;
    }
    EXPECT_EQ(refused(R"({"l":1})", {R"({"l":[1]})", R"({"l":[2]})"}, MergePolicy::kMerger, append_lists).code,
              ErrorCode::kConflict);
}

std::string merged_deeply(const std::string& base, const std::vector<std::string>& texts) {
    return merged(base, texts, MergePolicy::kMerger, merge_objects);
}

TEST(MergeMerger, MergesObjectsAtEveryDepth) {
    EXPECT_EQ(merged_deeply(R"({"o":{"k":1,"in":{"x":1,"y":2}}})",
                            {R"({"o":{"k":1,"in":{"x":1.50,"y":2}}})", R"({"o":{"in":{"x":1,"n":[]}}})"}),
              R"({"o":{"in":{"x":1.50,"n":[]}}})");
    EXPECT_EQ(merged_deeply("{}", {R"({"o":{"a":{"x":1}}})", R"({"o":{"a":{"y":2}}})"}),
              R"({"o":{"a":{"x":1,"y":2}}})");
}

TEST(MergeMerger, NamesThePlaceThatCannotBeMerged) {
    const Error error = refused(R"({"o":{"in":{"x":1}}})",
                                {R"({"o":{"in":{"x":2}}})", R"({"o":{"in":{"x":1},"n":1}})", R"({"o":{"in":{"x":3}}})"},
                                MergePolicy::kMerger, merge_objects);
    EXPECT_EQ(error.code, ErrorCode::kConflict);
    ASSERT_NE(error.cause, nullptr);
    EXPECT_THAT(error.cause->message, HasSubstr("$.o.in.x"));
    EXPECT_THAT(error.cause->message, HasSubstr(R"(steps "a" and "c")"));
    EXPECT_EQ(
        refused(R"({"o":[1]})", {R"({"o":{"x":1}})", R"({"o":{"y":1}})"}, MergePolicy::kMerger, merge_objects).code,
        ErrorCode::kConflict);
    EXPECT_EQ(refused(R"({"o":{}})", {R"({"o":{"x":1}})", "{}"}, MergePolicy::kMerger, merge_objects).code,
              ErrorCode::kConflict);
}

MemberConflict deep_conflict(std::size_t depth, const std::string& before, const std::vector<std::string>& candidates) {
    MemberConflict conflict{.member = "o", .before = test::nested_objects(depth, before)};
    for (const std::string& candidate : candidates) {
        conflict.candidates.emplace_back(test::nested_objects(depth, candidate));
        conflict.steps.push_back(std::string(1, static_cast<char>('a' + conflict.steps.size())));
    }
    return conflict;
}

TEST(MergeMerger, DepthCostsNoStack) {
    constexpr std::size_t kDepth = 100'000;
    const auto merged = merge_objects(deep_conflict(kDepth, "{}", {R"({"x":1})", R"({"y":2})"}));
    ASSERT_TRUE(merged.has_value()) << merged.error().to_string();
    EXPECT_EQ(*merged, test::nested_objects(kDepth, R"({"x":1,"y":2})"));
    const auto refused = merge_objects(deep_conflict(kDepth, "1", {"2", "3"}));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
}

constexpr double kRatioMax = 8;  // it would be a hundred if each level read the text again

TEST(MergeMerger, NoLevelReadsAgainWhatAnotherOneHasRead) {
    const std::string filler = R"({"x":")" + std::string(1'000'000, 'z') + R"(","n":)";
    // The merge must compare two equal changes beside another one, and keys in another order. It may read each only
    // once.
    const auto cost_at = [&](std::size_t depth) {
        const MemberConflict conflict =
            deep_conflict(depth, filler + R"({"k":1,"l":2}})",
                          {filler + R"({"l":2,"k":1},"p":1})", filler + R"({"k":1,"l":2},"p":1})",
                           filler + R"({"k":1,"l":2},"q":1})"});
        return test::seconds_of_cpu([&] { EXPECT_TRUE(merge_objects(conflict).has_value()); });
    };
    EXPECT_LT(cost_at(1'000), kRatioMax * cost_at(10));
}

TEST(MergeMerger, KeysThatStdHashCannotTellApartCostWhatOthersCost) {
    const auto cost_of = [](const std::vector<std::string>& keys) {
        const std::string before = R"({"o":)" + test::object_of(keys, "1") + "}";
        const std::string one = R"({"o":)" + test::object_of(keys, "2") + "}";
        const std::string other = R"({"o":)" + test::object_of(keys, "1") + R"(,"n":0})";
        return test::seconds_of_cpu([&] { merged_deeply(before, {one, other}); });
    };
    std::vector<std::string> keys = test::CollidingKeys::make(13);
    const double colliding = cost_of(keys);
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i].replace(0, 8, fmt::format("{:08}", i));
    EXPECT_LT(colliding, kRatioMax * cost_of(keys));
}

// ---- stopping ----

TEST(GroupMerge, EndsWhenItIsAskedToStop) {
    std::stop_source stop;
    const std::vector<Changed> results{{"a", parsed(R"({"x":2,"y":2})")}, {"b", parsed(R"({"x":3,"y":3})")}};
    const Stage stage{.steps = {}, .on_conflict = MergePolicy::kMerger, .merger = "mine"};
    int asked = 0;
    const Merger stopping = [&](const MemberConflict& conflict) -> Decision {
        ++asked;
        EXPECT_FALSE(conflict.stop.stop_requested());
        stop.request_stop();
        EXPECT_TRUE(conflict.stop.stop_requested());
        return "1";
    };
    const auto merged = merge_results(parsed(R"({"x":1,"y":1})"), results, stage, &stopping, {}, stop.get_token());
    ASSERT_FALSE(merged.has_value());
    EXPECT_EQ(merged.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(asked, 1);
}

TEST(GroupMerge, BuiltInMergersEndWhenTheyAreAskedToStop) {
    std::stop_source stop;
    stop.request_stop();
    MemberConflict conflict{.member = "o", .before = "[]", .candidates = {"[1]", "[2]"}, .steps = {"a", "b"}};
    conflict.stop = stop.get_token();
    ASSERT_FALSE(append_lists(conflict).has_value());
    EXPECT_EQ(append_lists(conflict).error().code, ErrorCode::kUnavailable);
    conflict.before = "{}";
    conflict.candidates = {R"({"x":1})", R"({"y":1})"};
    ASSERT_FALSE(merge_objects(conflict).has_value());
    EXPECT_EQ(merge_objects(conflict).error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace cairn
