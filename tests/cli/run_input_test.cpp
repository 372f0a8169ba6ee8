// Goal: `--set` changes the member that it names, and not one byte of anything else.
// Method: compares the resulting text with the expected one.

#include "cli/run/run_input.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace cairn::test {
namespace {

using cli::read_run_input;
using cli::with_top_member;

std::string with(const std::string& state, const std::string& key, const std::string& value) {
    return std::string(with_top_member(State::parse(state).value(), key, value).text());
}

std::string input(const std::vector<std::string>& settings) {
    const auto state = read_run_input("", settings, {});
    EXPECT_TRUE(state) << state.error().to_string();
    return state ? std::string(state->text()) : "";
}

TEST(RunInput, AMemberIsReplacedWhereItStandsOrAddedAtTheEnd) {
    EXPECT_EQ(with("{}", "a", "1"), R"({"a":1})");
    EXPECT_EQ(with(R"({"a":1,"b":[1,{"a":2}],"c":"}"})", "b", "{}"), R"({"a":1,"b":{},"c":"}"})");
    EXPECT_EQ(with(R"({"a":1.50,"b":"\",\\"})", "z", "null"), R"({"a":1.50,"b":"\",\\","z":null})");
    EXPECT_EQ(with(R"({"\u0061":1})", "a", "2"), R"({"\u0061":2})");
    EXPECT_EQ(with(R"({"\ud800":1})", "a", "2"), R"({"\ud800":1,"a":2})");
    EXPECT_EQ(with(R"({"a":{"b":1}})", "a.b", "2"), R"({"a":{"b":1},"a.b":2})");
    EXPECT_EQ(with(R"({"a":1,"a":2})", "a", "3"), R"({"a":3,"a":3})");
}

TEST(RunInput, AValueIsJsonOrElseAString) {
    EXPECT_EQ(input({}), "{}");
    EXPECT_EQ(input({"n=12345678901234567890", "s=a b", "q=\"x\"", "l=[1, 2]", "e=", "eq=a=b", "t=true"}),
              R"({"n":12345678901234567890,"s":"a b","q":"x","l":[1,2],"e":"","eq":"a=b","t":true})");
    EXPECT_EQ(input({R"(trick=1,"b":2)", "half={"}), R"({"trick":"1,\"b\":2","half":"{"})");
    EXPECT_EQ(input({"a=1", "a=2"}), R"({"a":2})");
}

TEST(RunInput, ASettingWithoutKeyOrSignIsRefused) {
    for (const char* setting : {"a", "=1", ""}) {
        const auto state = read_run_input("", {setting}, {});
        ASSERT_FALSE(state) << setting;
        EXPECT_EQ(state.error().code, ErrorCode::kInvalidArgument);
        EXPECT_EQ(state.error().message, "--set \"" + std::string(setting) + "\": give KEY=VALUE");
    }
}

TEST(RunInput, ALimitCountsForTheWholeAndWhatReachesItIsAccepted) {
    const std::string whole = R"({"a":"0123456789"})";
    const auto fits = read_run_input("", {"a=0123456789"}, {.bytes_max = whole.size()});
    ASSERT_TRUE(fits) << fits.error().to_string();
    EXPECT_EQ(fits->text(), whole);
    const auto larger = read_run_input("", {"a=0123456789"}, {.bytes_max = whole.size() - 1});
    ASSERT_FALSE(larger);
    EXPECT_EQ(larger.error().code, ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace cairn::test
