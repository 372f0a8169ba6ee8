// Goal: State accepts exactly the texts that are states, and keeps every byte that matters. An error names the place of
// the problem, without repeating content.
// Method: tables of texts with the expected answers; limits exactly reached, and exceeded by one.

#include <cairn/state.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace cairn {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;
using testing::Not;

std::string nested(std::size_t depth) {
    std::string text = "{\"a\":";
    for (std::size_t i = 1; i < depth; ++i) text += '[';
    text += depth == 1 ? "1" : "";
    for (std::size_t i = 1; i < depth; ++i) text += ']';
    return text + "}";
}

Error error_of(std::string_view text, const StateLimits& limits = {}) {
    const Result<State> state = State::parse(text, limits);
    EXPECT_FALSE(state.has_value()) << text;
    return state ? Error{.message = "accepted"} : state.error();
}

TEST(State, TheDefaultIsTheEmptyObject) {
    EXPECT_EQ(State().text(), "{}");
    EXPECT_EQ(State(), *State::parse("{}"));
}

TEST(State, EveryTokenStaysAsWritten) {
    const std::vector<std::string> texts{
        R"({"zero":-0.0,"int":-0,"pi":3.1415926535897931,"tenth":0.10000000000000001,"one":1,"one_point":1.0})",
        R"({"huge":1E400,"tiny":1e-400,"plus":1E+5,"big":123456789012345678901234567890,"neg":-9223372036854775809})",
        R"({"lone":"\ud800","low":"\uDC00x","pair":"\ud83d\ude00","reversed":"\ude00\ud83d","nul":"\u0000"})",
        R"({"escapes":"\"\\\/\b\f\n\r\t\u00e9\u00E9","plain":"é你😀"})",
        R"({"k":1,"k":2,"a":{"k":3,"k":3},"\u006b":4,"":5})",
        R"({"white space inside":"a  b : , { } [ ] \\","tail":"\\\\"})",
        "{\"del\":\"\x7F\",\"max\":\"\xF4\x8F\xBF\xBF\",\"before "
        "surrogates\":\"\xED\x9F\xBF\",\"nonchar\":\"\xEF\xBF\xBF\"}",
        R"({"a":[],"b":{},"c":[[],[{}],null,true,false]})",
    };
    for (const std::string& text : texts) {
        const Result<State> state = State::parse(text);
        ASSERT_TRUE(state.has_value()) << text << ": " << state.error().message;
        EXPECT_EQ(state->text(), text);
    }
}

TEST(State, OnlyInsignificantWhiteSpaceGoes) {
    const Result<State> state = State::parse(" \t\r\n{ \"a b\" :\n[ 1 ,\t2.50 , \" x \" ] , \"c\" : { } }\n\n");
    ASSERT_TRUE(state.has_value());
    EXPECT_EQ(state->text(), R"({"a b":[1,2.50," x "],"c":{}})");
}

TEST(State, ReadsNormalTextOfAnyLengthAroundTheBlockSize) {
    for (std::size_t length = 0; length < 300; ++length) {
        const std::string text = "{\"a\":\"" + std::string(length, 'x') + "\\n\"}";
        ASSERT_EQ(State::parse(text)->text(), text);
        ASSERT_EQ(State::parse(text + " ")->text(), text);
    }
}

TEST(State, MovedInNormalTextKeepsItsBuffer) {
    std::string text = R"({"a":")" + std::string(1000, 'x') + "\"}";
    const char* buffer = text.data();
    EXPECT_EQ(State::parse(std::move(text))->text().data(), buffer);
    std::string spaced = R"({ "a":")" + std::string(1000, 'x') + "\"}";
    EXPECT_EQ(State::parse(std::move(spaced))->size_bytes(), 1008U);
}

TEST(State, CopiesShareTheText) {
    const State state = *State::parse(R"({"a":1})");
    const State copy = state;  // NOLINT(performance-unnecessary-copy-initialization): the test is about the copy
    EXPECT_EQ(copy.text().data(), state.text().data());
}

TEST(State, ChecksumIsThatOfTheNormalText) {
    EXPECT_EQ(State::parse("{ \"a\" : 1 }")->checksum(), Checksum::of(R"({"a":1})"));
}

struct Refusal {
    std::string text;
    std::string message;
};

TEST(State, ATextThatIsNoStateIsRefusedWithThePlace) {
    const std::vector<Refusal> refusals{
        {"", "a state is a JSON object; found nothing: the text is empty"},
        {" \n ", "a state is a JSON object; found only white space in 3 bytes"},
        {"[1]", "a state is a JSON object; found an array at byte 0"},
        {" \"x\"", "a state is a JSON object; found a string at byte 1"},
        {"12", "a state is a JSON object; found a number at byte 0"},
        {"null", "a state is a JSON object; found a bare word at byte 0"},
        {"\0{}"s, "a state is a JSON object; found byte 0x00 at byte 0"},
        {"\xEF\xBB\xBF{}", "a state is a JSON object; found a byte order mark at byte 0"},
        {"{", "byte 1 ($): expected a key in quotes or '}', found the end of the text"},
        {R"({"a":NaN})", "byte 5 ($.a): expected a value, found NaN"},
        {R"({"a":-Infinity})", "byte 5 ($.a): expected a value, found -Infinity"},
        {R"({"a":[1,Infinity]})", "byte 8 ($.a[1]): expected a value, found Infinity"},
        {R"({"a":1,})", "byte 7 ($): expected a key in quotes, found '}'"},
        {R"({"a":[1,]})", "byte 8 ($.a[1]): expected a value, found ']'"},
        {R"({"a":[,1]})", "byte 6 ($.a[0]): expected a value or ']', found ','"},
        {R"({"a":1} x)", "byte 8 ($): expected the end of the text after the object, found a bare word"},
        {R"({"a":1}{"b":2})", "byte 7 ($): expected the end of the text after the object, found an object"},
        {"{}\0"s, "byte 2 ($): expected the end of the text after the object, found byte 0x00"},
        {R"({"a" 1})", "byte 5 ($.a): expected ':' after the key, found a number"},
        {R"({"a":1 "b":2})", "byte 7 ($.a): expected ',' or '}', found a string"},
        {R"({"a":[1 2]})", "byte 8 ($.a[0]): expected ',' or ']', found a number"},
        {R"({"a":[1}})", "byte 7 ($.a[0]): expected ',' or ']', found '}'"},
        {R"({"a":1])", "byte 6 ($.a): expected ',' or '}', found ']'"},
        {R"({a:1})", "byte 1 ($): expected a key in quotes or '}', found a bare word"},
        {R"({'a':1})", "byte 1 ($): expected a key in quotes or '}', found '''"},
        {R"({"a":/**/1})", "byte 5 ($.a): expected a value, found '/'"},
        {R"({"a":tru})", "byte 5 ($.a): expected a value, found a bare word"},
        {R"({"a":truex})", "byte 9 ($.a): expected ',' or '}', found a bare word"},
        {R"({"a":True})", "byte 5 ($.a): expected a value, found a bare word"},
        {R"({"a":01})", "byte 6 ($.a): a number starts with a needless zero"},
        {R"({"a":-01})", "byte 7 ($.a): a number starts with a needless zero"},
        {R"({"a":1.})", "byte 7 ($.a): a digit is missing in a number"},
        {R"({"a":-})", "byte 6 ($.a): a digit is missing in a number"},
        {R"({"a":1e+})", "byte 8 ($.a): a digit is missing in a number"},
        {R"({"a":.5})", "byte 5 ($.a): expected a value, found '.'"},
        {R"({"a":+1})", "byte 5 ($.a): expected a value, found '+'"},
        {R"({"a":1.2.3})", "byte 8 ($.a): expected ',' or '}', found '.'"},
        {R"({"a":"x)", "byte 7 ($.a): the text ends inside a string"},
        {R"({"a":"x\)", "byte 7 ($.a): bad escape in a string"},
        {R"({"a":"\x41"})", "byte 6 ($.a): bad escape in a string"},
        {R"({"a":"\u12"})", "byte 6 ($.a): bad escape in a string"},
        {R"({"a":"\u12g4"})", "byte 6 ($.a): bad escape in a string"},
        {"{\"a\":\"x\ny\"}", "byte 7 ($.a): raw control character 0x0A in a string"},
        {"{\"a\":\"\0\"}"s, "byte 6 ($.a): raw control character 0x00 in a string"},
        {"{\"a\":\f1}", "byte 5 ($.a): expected a value, found byte 0x0C"},
        {"{\"a\"\x1A\"1\"}", "byte 4 ($.a): expected ':' after the key, found byte 0x1A"},
        {"{\"a\":\"\x80\"}", "byte 6 ($.a): byte 0x80 in a string is not UTF-8"},
        {"{\"a\":\"\xC0\xAF\"}", "byte 6 ($.a): byte 0xC0 in a string is not UTF-8"},
        {"{\"a\":\"\xE0\x80\xAF\"}", "byte 6 ($.a): byte 0xE0 in a string is not UTF-8"},
        {"{\"a\":\"\xF0\x8F\xBF\xBF\"}", "byte 6 ($.a): byte 0xF0 in a string is not UTF-8"},
        {"{\"a\":\"\xED\xA0\x80\"}", "byte 6 ($.a): byte 0xED in a string is not UTF-8"},
        {"{\"a\":\"\xF4\x90\x80\x80\"}", "byte 6 ($.a): byte 0xF4 in a string is not UTF-8"},
        {"{\"a\":\"\xE2\x82\"}", "byte 6 ($.a): byte 0xE2 in a string is not UTF-8"},
        {"{\"\xFF\":1}", "byte 2 ($): byte 0xFF in a string is not UTF-8"},
        {R"({"a":\n})", "byte 5 ($.a): expected a value, found '\\'"},
    };
    for (const Refusal& refusal : refusals) {
        const Error error = error_of(refusal.text);
        EXPECT_EQ(error.code, ErrorCode::kInvalidState) << refusal.text;
        EXPECT_THAT(error.message, HasSubstr(refusal.message)) << refusal.text;
    }
}

TEST(State, PathNamesKeysAndIndexes) {
    EXPECT_THAT(error_of(R"({"messages":[{},{},{},{"content":bad}]})").message, HasSubstr("($.messages[3].content)"));
    EXPECT_THAT(error_of(R"({"odd key":{"é":{"a.b":{"\n":[[bad]]}}}})").message,
                HasSubstr(R"(($["odd key"]["é"]["a.b"]["\n"][0][0]))"));
    EXPECT_THAT(error_of(R"({"a":{"b":1},"c":bad})").message, HasSubstr("($.c)"));
}

TEST(State, PathCutsLongKeysAndDeepPaths) {
    std::string key(47, 'k');
    EXPECT_THAT(error_of("{\"" + key + "é" + key + "\":bad}").message, HasSubstr("[\"" + key + "…\"]"));
    const std::string deep = error_of("{\"a\":" + std::string(500, '[') + "bad").message;
    EXPECT_THAT(deep, HasSubstr("($.a[0][0][0][0][0][0][0]…[0][0][0][0][0][0][0][0])"));
}

TEST(State, MessagesDoNotRepeatValues) {
    for (const std::string text : {R"({"a":"secret","b":secret})", R"({"a":"secret\q"})", R"({"a":12345secret})",
                                   R"({"a":"secret)", R"({"a":"secret"} secret)"}) {
        const Error error = error_of(text);
        EXPECT_THAT(error.to_string(), Not(HasSubstr("secret"))) << text;
        EXPECT_THAT(error.to_string(), Not(HasSubstr("12345"))) << text;
    }
}

TEST(State, ByteLimitIsInclusiveAndNamed) {
    const std::string text = R"({"a": 1})";
    EXPECT_TRUE(State::parse(text, {.bytes_max = 8}).has_value());
    const Error error = error_of(text, {.bytes_max = 7});
    EXPECT_EQ(error.code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(error.message, "the state has 8 bytes, bytes_max is 7 (CAIRN_STATE_BYTES_MAX)");
}

TEST(State, DepthLimitIsInclusiveAndNamed) {
    for (const std::uint32_t depth : {1U, 2U, 63U, 64U, 65U, 1024U, 1025U, 5000U}) {
        EXPECT_TRUE(State::parse(nested(depth), {.depth_max = depth}).has_value()) << depth;
        const Error error = error_of(nested(depth + 1), {.depth_max = depth});
        EXPECT_EQ(error.code, ErrorCode::kLimitExceeded);
        EXPECT_THAT(error.message, HasSubstr("depth_max=" + std::to_string(depth) +
                                             " (CAIRN_STATE_DEPTH_MAX) at byte " + std::to_string(4 + depth)));
    }
    EXPECT_EQ(error_of("{}", {.depth_max = 0}).code, ErrorCode::kLimitExceeded);
    EXPECT_TRUE(State::parse("{}", {.depth_max = 0xFFFF'FFFF}).has_value());
}

TEST(State, DefaultDepthLimitIs1024) {
    EXPECT_TRUE(State::parse(nested(1024)).has_value());
    EXPECT_EQ(error_of(nested(1025)).code, ErrorCode::kLimitExceeded);
}

TEST(State, TheFirstProblemIsReported) {
    EXPECT_EQ(error_of(R"({"a":[[1]],"b":bad})", {.depth_max = 2}).code, ErrorCode::kLimitExceeded);
    EXPECT_EQ(error_of(R"({"b":bad,"a":[[1]]})", {.depth_max = 2}).code, ErrorCode::kInvalidState);
}

TEST(State, StatesBeyondTheKeptBufferAreExactToo) {
    const std::string text = "{\"a\":\"" + std::string(3 << 20, 'x') + "\",\"b\":[1,2]}";
    EXPECT_EQ(State::parse(text)->text(), text);
    EXPECT_EQ(State::parse("\n" + text)->text(), text);
    EXPECT_THAT(error_of(text + "x").message, HasSubstr("byte " + std::to_string(text.size())));
}

TEST(StateMember, FindsTopLevelValuesOfEveryKind) {
    const State state = *State::parse(
        R"({"s":"a\"}b","n":-1.50,"o":{"s":1,"x":[{"}":"]"}]},"a":[1,{"n":2},"]"],"t":true,"z":null,"":0,"e":{}})");
    EXPECT_EQ(state.member("s"), R"("a\"}b")");
    EXPECT_EQ(state.member("n"), "-1.50");
    EXPECT_EQ(state.member("o"), R"({"s":1,"x":[{"}":"]"}]})");
    EXPECT_EQ(state.member("a"), R"([1,{"n":2},"]"])");
    EXPECT_EQ(state.member("t"), "true");
    EXPECT_EQ(state.member("z"), "null");
    EXPECT_EQ(state.member(""), "0");
    EXPECT_EQ(state.member("e"), "{}");
    EXPECT_EQ(state.member("x"), std::nullopt);
    EXPECT_EQ(State().member("s"), std::nullopt);
}

TEST(StateMember, KeysAreComparedByMeaning) {
    const State state = *State::parse(
        R"({"\u0061\/b":1,"tab\t":2,"\ud83d\ude00":3,"\u0000":4,"\ud800":5,"\u00e9\u4f60":6,"q\"\\":7,"\ud800\u0061":8})");
    EXPECT_EQ(state.member("a/b"), "1");
    EXPECT_EQ(state.member("tab\t"), "2");
    EXPECT_EQ(state.member("😀"), "3");
    EXPECT_EQ(state.member("\0"s), "4");
    EXPECT_EQ(state.member("é你"), "6");
    EXPECT_EQ(state.member("q\"\\"), "7");
    EXPECT_EQ(state.member(R"(\ud800)"), std::nullopt);
    EXPECT_EQ(state.member("tab"), std::nullopt);
    EXPECT_EQ(state.member("tab\tx"), std::nullopt);
}

TEST(StateMember, LastDuplicateWins) {
    EXPECT_EQ(State::parse(R"({"a":1,"\u0061":2,"b":3})")->member("a"), "2");
    EXPECT_EQ(State::parse(R"({"\u0061":2,"a":1})")->member("a"), "1");
}

TEST(StateMember, TextThatLiesIsReadInItsBounds) {
    for (const std::string text : {"", "{", "{\"", "\\\"", "{]]]]\"", "{\"a", "{\"a\"", "{\"a\":", "{\"\\",
                                   "{\"\\u1\":1}", "{\"\\ud800\\u\":1}", "\\\\\\\\\"\"\"\"", "{\"\\\":1}"}) {
        const State lie = State::from_normal_text(std::string(text));
        EXPECT_EQ(lie.member("absent"), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace cairn
