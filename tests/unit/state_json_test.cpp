// Goal: documents of nlohmann::json become states, and states documents, without an unasked change. A value that one
// side cannot hold is an error that names the place.
// Method: round trips by hand for both document types. Each refusal with its code and path.

#include <cairn/state_json.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace cairn {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class Json>
Error error_of(const Json& document, const StateLimits& limits = {}) {
    const Result<State> state = state_from_json(document, limits);
    EXPECT_FALSE(state.has_value());
    return state ? Error{} : state.error();
}

TEST(StateJson, KeysStandInTheDocumentsOrder) {
    const std::string text = R"({"z":1,"a":[true,null,"é\n",-2,1.5,{}],"m":{"y":0.1,"b":18446744073709551615}})";
    EXPECT_EQ(state_from_json(ordered_json::parse(text))->text(), text);
    EXPECT_EQ(state_from_json(json::parse(text))->text(),
              R"({"a":[true,null,"é\n",-2,1.5,{}],"m":{"b":18446744073709551615,"y":0.1},"z":1})");
}

TEST(StateJson, StatesBecomeDocuments) {
    const State state = *State::parse(R"({"z":1,"a":{"k":1,"k":2},"big":123456789012345678901234567890})");
    EXPECT_EQ(state_to_json<ordered_json>(state)->dump(), R"({"z":1,"a":{"k":2},"big":1.2345678901234568e+29})");
    EXPECT_EQ((*state_to_json<json>(state))["a"]["k"], 2);
}

TEST(StateJson, NaNAndInfinityAreRefusedWithThePath) {
    const json document{{"a", {1, {{"x y", std::numeric_limits<double>::quiet_NaN()}}}}};
    const Error error = error_of(document);
    EXPECT_EQ(error.code, ErrorCode::kInvalidState);
    EXPECT_THAT(error.message, HasSubstr(R"($.a[1]["x y"]: NaN and infinity are not JSON)"));
    EXPECT_THAT(error_of(ordered_json{{"b", 1}, {"a", -kInfinity}}).message, HasSubstr("$.a: NaN"));
}

TEST(StateJson, ADocumentThatIsNoObjectIsRefused) {
    for (const json& document : {json(nullptr), json(1), json("text"), json::array({1})}) {
        EXPECT_EQ(error_of(document).code, ErrorCode::kInvalidState) << document;
    }
    EXPECT_EQ(error_of(json(json::value_t::discarded)).code, ErrorCode::kInvalidState);
}

TEST(StateJson, TextThatIsNotUtf8IsRefusedWithThePath) {
    const Error value = error_of(json{{"a", json::array({"fine", "secret\xFF"})}});
    EXPECT_EQ(value.code, ErrorCode::kInvalidState);
    EXPECT_THAT(value.message, HasSubstr("$.a[1]: a string is not UTF-8"));
    EXPECT_THAT(value.to_string(), Not(HasSubstr("secret")));
    const Error key = error_of(json{{"a", {{"secret\xFF", 1}}}});
    EXPECT_THAT(key.message, HasSubstr("$.a: a key is not UTF-8"));
    EXPECT_THAT(key.to_string(), Not(HasSubstr("secret")));
}

TEST(StateJson, BinaryValuesAreRefusedWithThePath) {
    EXPECT_THAT(error_of(json{{"blob", json::binary({1, 2})}}).message, HasSubstr("$.blob: binary"));
}

TEST(StateJson, LimitsHold) {
    const json document{{"a", {{"b", {{"c", 1}}}}}};
    EXPECT_TRUE(state_from_json(document, {.depth_max = 3}).has_value());
    EXPECT_EQ(error_of(document, {.depth_max = 2}).code, ErrorCode::kLimitExceeded);
    EXPECT_THAT(error_of(document, {.depth_max = 2}).message,
                HasSubstr("depth_max=2 (CAIRN_STATE_DEPTH_MAX) at $.a.b"));
    EXPECT_TRUE(state_from_json(document, {.bytes_max = 19}).has_value());
    EXPECT_EQ(error_of(document, {.bytes_max = 18}).code, ErrorCode::kLimitExceeded);
}

TEST(StateJson, DepthThatThePrinterWouldNotSurviveIsAnError) {
    json document = 1;
    for (int i = 0; i < 500'000; ++i) document = json::array({std::move(document)});
    json state{{"a", nullptr}};
    state["a"] = std::move(document);
    EXPECT_EQ(error_of(state, {.depth_max = 0xFFFF'FFFF}).code, ErrorCode::kLimitExceeded);
}

TEST(StateJson, AValueThatDocumentsCannotHoldIsAnErrorWithThePlace) {
    const Result<json> lone = state_to_json<json>(*State::parse(R"({"a":[0,"secret\ud800"]})"));
    ASSERT_FALSE(lone.has_value());
    EXPECT_EQ(lone.error().code, ErrorCode::kInvalidState);
    EXPECT_THAT(lone.error().message, HasSubstr("($.a[1]): a lone surrogate escape"));
    EXPECT_THAT(lone.error().to_string(), Not(HasSubstr("secret")));

    const Result<json> huge = state_to_json<json>(*State::parse(R"({"a":[0,{"b":-1E400}]})"));
    ASSERT_FALSE(huge.has_value());
    EXPECT_EQ(huge.error().code, ErrorCode::kInvalidState);
    EXPECT_THAT(huge.error().message, HasSubstr("at byte 13 ($.a[1].b): a number beyond the range of a double"));
    EXPECT_THAT(huge.error().to_string(), Not(HasSubstr("E400")));
}

}  // namespace
}  // namespace cairn
