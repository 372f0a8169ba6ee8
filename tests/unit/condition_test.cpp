// Goal: a condition holds exactly if everything that it asks for is true. A condition without a meaning is refused
// beforehand.
// Method: a table of each test against members that are there, are missing, or are written differently. Wrong
// conditions are made by hand.

#include "pipeline/rules/condition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

using Ask = Condition::Test;
using testing::HasSubstr;

const char* const kState = R"({"risk":{"level":"high","score":1.0,"tags":[{"a":1,"b":2},null]},"none":null})";

bool member_holds(const std::string& pointer, Ask test, std::vector<std::string> values = {}) {
    const Condition condition{.members = {{pointer, test, std::move(values)}}};
    EXPECT_TRUE(check_condition(condition).has_value()) << pointer;
    return holds(condition, *State::parse(kState), {});
}

TEST(Condition, WithoutMembersAndStepsItHolds) {
    EXPECT_TRUE(holds({}, State(), {}));
}

TEST(Condition, ExistsAndMissingAskForTheMemberNotForItsValue) {
    EXPECT_TRUE(member_holds("/risk/level", Ask::kExists));
    EXPECT_FALSE(member_holds("/risk/other", Ask::kExists));
    EXPECT_TRUE(member_holds("/none", Ask::kExists));
    EXPECT_FALSE(member_holds("/none", Ask::kMissing));
    EXPECT_TRUE(member_holds("/risk/tags/2", Ask::kMissing));
}

TEST(Condition, EqualityIsOfJsonWithTokensAsWritten) {
    EXPECT_TRUE(member_holds("/risk/level", Ask::kEquals, {"\"high\""}));
    EXPECT_FALSE(member_holds("/risk/level", Ask::kEquals, {"\"low\""}));
    EXPECT_TRUE(member_holds("/risk/tags/0", Ask::kEquals, {R"({"b":2,"a":1})"}));
    EXPECT_TRUE(member_holds("/risk/score", Ask::kEquals, {"1.0"}));
    EXPECT_FALSE(member_holds("/risk/score", Ask::kEquals, {"1"}));
    EXPECT_FALSE(member_holds("/risk/level", Ask::kNotEquals, {"\"high\""}));
    EXPECT_TRUE(member_holds("/risk/level", Ask::kNotEquals, {"\"low\""}));
}

TEST(Condition, InHoldsForAnyOfItsValues) {
    EXPECT_TRUE(member_holds("/risk/level", Ask::kIn, {"\"low\"", "\"high\""}));
    EXPECT_FALSE(member_holds("/risk/level", Ask::kIn, {"\"low\"", "null"}));
    EXPECT_TRUE(member_holds("/none", Ask::kIn, {"null"}));
}

TEST(Condition, AMissingMemberEqualsNothing) {
    EXPECT_FALSE(member_holds("/missing", Ask::kEquals, {"null"}));
    EXPECT_TRUE(member_holds("/missing", Ask::kNotEquals, {"null"}));
    EXPECT_FALSE(member_holds("/missing", Ask::kIn, {"null"}));
}

TEST(Condition, AStepMustHaveEndedAsAsked) {
    const StepOutcomes outcomes{{"a", StepOutcome::kCompleted}, {"b", StepOutcome::kFailed}};
    EXPECT_TRUE(holds({.steps = {{"a"}, {"b", StepOutcome::kFailed}}}, State(), outcomes));
    EXPECT_FALSE(holds({.steps = {{"a"}, {"b"}}}, State(), outcomes));
    EXPECT_FALSE(holds({.steps = {{"c"}}}, State(), outcomes));
}

TEST(Condition, AllThatIsAskedForMustHold) {
    const State state = *State::parse(R"({"x":1})");
    const Condition::Member there{"/x"};
    const Condition::Member not_there{"/y"};
    const StepOutcomes outcomes{{"a", StepOutcome::kSkipped}};
    EXPECT_TRUE(holds({.members = {there}, .steps = {{"a", StepOutcome::kSkipped}}}, state, outcomes));
    EXPECT_FALSE(holds({.members = {there, not_there}}, state, outcomes));
    EXPECT_FALSE(holds({.members = {there}, .steps = {{"a"}}}, state, outcomes));
    EXPECT_FALSE(holds({.members = {not_there}, .steps = {{"a", StepOutcome::kSkipped}}}, state, outcomes));
}

std::string refusal(const std::string& pointer, Ask test, std::vector<std::string> values = {}) {
    const Status status = check_condition({.members = {{pointer, test, std::move(values)}}});
    EXPECT_FALSE(status.has_value()) << pointer;
    if (status) return "";
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(status.error().message, HasSubstr("\"" + pointer + "\""));
    return status.error().message;
}

TEST(Condition, ATextThatIsNoPointerIsRefused) {
    for (const char* pointer : {"risk", "risk/level", "/a~", "/a~2b", "#/a"}) {
        EXPECT_THAT(refusal(pointer, Ask::kExists), HasSubstr("JSON Pointer")) << pointer;
    }
    EXPECT_TRUE(check_condition({.members = {{"", Ask::kExists}, {"/a~0b~1c//", Ask::kExists}}}).has_value());
}

TEST(Condition, TheNumberOfValuesMustFitTheTest) {
    EXPECT_THAT(refusal("/a", Ask::kEquals), HasSubstr("exactly one value"));
    EXPECT_THAT(refusal("/a", Ask::kNotEquals, {"1", "2"}), HasSubstr("exactly one value"));
    EXPECT_THAT(refusal("/a", Ask::kIn), HasSubstr("at least one value"));
    EXPECT_THAT(refusal("/a", Ask::kExists, {"1"}), HasSubstr("no value"));
    EXPECT_THAT(refusal("/a", Ask::kMissing, {"1"}), HasSubstr("no value"));
}

TEST(Condition, ValuesMustBeNormalTextOfJson) {
    for (const char* value : {"", "high", "1 ", "{\"a\": 1}", "1,2", "[1", "NaN", "\"a\",\"b\":1"}) {
        EXPECT_THAT(refusal("/a", Ask::kEquals, {value}), HasSubstr("one JSON value")) << value;
        EXPECT_THAT(refusal("/a", Ask::kIn, {"1", value}), HasSubstr("one JSON value")) << value;
    }
}

}  // namespace
}  // namespace cairn
