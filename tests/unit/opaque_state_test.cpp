// Goal: an opaque state is its bytes and its type, whatever they are: no state of another type, no JSON and no other
// bytes are equal to it, and code that reads JSON refuses it.
// Method: bytes that look like JSON, like tags and like stored texts; limits at their edges; texts from a store that
// lie.

#include "state/json_pointer.h"
#include "state/opaque_text.h"
#include "state/state_merge.h"

#include <cairn/state.h>
#include <cairn/state_json.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <string>
#include <vector>

namespace cairn {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;
using namespace std::string_view_literals;

State opaque(std::string_view type, std::string_view bytes) {
    return State::opaque(type, bytes).value();
}

TEST(OpaqueState, GivesBackWhatItWasMadeOf) {
    for (const std::string& bytes : {""s, "\0"s, "{}"s, "\xff\xfe\x00\x80"s, std::string(100'000, 'x')}) {
        for (const std::string& type : {"m"s, "msgpack"s, "a/b;c=d"s, std::string(64, '~')}) {
            const State state = opaque(type, bytes);
            EXPECT_TRUE(state.is_opaque());
            EXPECT_EQ(state.type_tag(), type);
            EXPECT_EQ(state.text(), bytes);
            EXPECT_EQ(state.size_bytes(), bytes.size());
            EXPECT_EQ(state.stored_text().size(), bytes.size() + type.size() + 1);
            EXPECT_EQ(state, State::opaque(type, std::string(bytes)).value()) << "the overload that moves";
            EXPECT_EQ(state, State::from_opaque_text(std::string(state.stored_text())));
        }
    }
}

TEST(OpaqueState, JsonIsNotOpaque) {
    const State json = State::parse(R"({ "a": 1 })").value();
    EXPECT_FALSE(json.is_opaque());
    EXPECT_EQ(json.type_tag(), "");
    EXPECT_EQ(json.stored_text(), R"({"a":1})");
}

// Part of the stored format: this test must never be changed to fit the code.
TEST(OpaqueState, ItsStoredTextIsTheDocumentedOne) {
    EXPECT_EQ(opaque("msgpack", "\x81\xa1"s + "a\x01").stored_text(), "\x81\xa1"s + "a\x01msgpack\x07");
}

TEST(OpaqueState, EqualityIsThatOfTypeAndBytes) {
    const std::vector<State> all{
        State::parse("{}").value(), opaque("json", "{}"), opaque("jso", "{}n"), opaque("n", "{}"),
        opaque("n", "{}jso"),       opaque("j", ""),      opaque("k", ""),      opaque("j", "j")};
    for (std::size_t i = 0; i < all.size(); ++i) {
        for (std::size_t j = 0; j < all.size(); ++j) {
            EXPECT_EQ(all[i] == all[j], i == j) << i << " and " << j;
            EXPECT_EQ(all[i].checksum() == all[j].checksum(), i == j) << i << " and " << j;
        }
    }
}

TEST(OpaqueState, NoNestingIsTooDeep) {
    EXPECT_TRUE(State::opaque("text", std::string(100'000, '['), {.depth_max = 1}));
}

TEST(OpaqueState, ByteLimitIsInclusiveAndNamedAndDoesNotCountTheType) {
    EXPECT_TRUE(State::opaque("msgpack", std::string(100, 'x'), {.bytes_max = 100}));
    for (const auto& refused :
         {State::opaque("msgpack", std::string(101, 'x'), {.bytes_max = 100}),
          State::opaque("msgpack", std::string_view(std::string(101, 'x')), {.bytes_max = 100})}) {
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kLimitExceeded);
        EXPECT_THAT(refused.error().message, HasSubstr("101 bytes, bytes_max is 100 (CAIRN_STATE_BYTES_MAX)"));
    }
}

TEST(OpaqueState, ATypeThatCannotBeReadIsRefused) {
    for (const std::string& type : {""s, "a b"s, "a\n"s, "\0"s, "é"s, "\x7f"s, std::string(65, 'x')}) {
        const auto refused = State::opaque(type, "bytes"sv);
        ASSERT_FALSE(refused) << type;
        EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(refused.error().message, HasSubstr("give 1 to 64 printable ASCII characters without spaces"));
    }
}

TEST(OpaqueState, APlusInTheTypeMeansCiphertext) {
    EXPECT_TRUE(is_ciphertext(opaque("msgpack+aes", "")));
    EXPECT_FALSE(is_ciphertext(opaque("msgpack", "+")));
    EXPECT_FALSE(is_ciphertext(State::parse(R"({"+":"+"})").value()));
}

TEST(OpaqueState, CodeThatReadsJsonRefusesOrFindsNothing) {
    const State state = opaque("json", R"({"a":1})");
    EXPECT_EQ(state.member("a"), std::nullopt);
    EXPECT_EQ(find(state, ""), std::nullopt);
    EXPECT_EQ(find(state, "/a"), std::nullopt);
    const State json = State::parse(R"({"a":1})").value();
    for (const ErrorCode code :
         {merge_patch(state, json).error().code, merge_patch(json, state).error().code,
          state_to_json<nlohmann::json>(state).error().code, require_json(state, "it").error().code}) {
        EXPECT_EQ(code, ErrorCode::kInvalidState);
    }
    EXPECT_THAT(require_json(state, "metadata").error().message,
                HasSubstr("metadata is an opaque state of type \"json\""));
    EXPECT_TRUE(require_json(json, "it"));
}

// A cache and a queue count the bytes that a state has, so it must not hold many more.
TEST(OpaqueState, OfAGivenBufferHoldsNoMoreThanItNeeds) {
    constexpr std::size_t kBytes = 1 << 20;
    const auto held_bytes = [](const State& state) {
        return malloc_usable_size(const_cast<char*>(state.stored_text().data()));
    };
    std::string full(kBytes, 'b');
    full.shrink_to_fit();
    const State copied = State::opaque("msgpack", std::move(full)).value();
    EXPECT_EQ(copied.text(), std::string(kBytes, 'b'));
    EXPECT_LT(held_bytes(copied), kBytes + kBytes / 8);

    std::string with_room;
    with_room.reserve(kBytes + 65);
    with_room.append(kBytes, 'b');
    const char* const buffer = with_room.data();
    const State kept = State::opaque(std::string(64, 't'), std::move(with_room)).value();
    EXPECT_EQ(kept.stored_text().data(), buffer);
    EXPECT_LT(held_bytes(kept), kBytes + kBytes / 8);
}

TEST(OpaqueState, StoredTextThatLiesIsCorrupt) {
    EXPECT_TRUE(check_opaque_text("a\x01"));
    EXPECT_TRUE(check_opaque_text("bytes" + std::string(64, 't') + "\x40"));
    for (const std::string& text : {""s, "\0"s, "a\0"s, "\x01"s, "a\x02"s, " \x01"s, "\x80\x01"s, R"({"a":1})"s,
                                    "bytes" + std::string(65, 't') + "\x41"}) {
        const Status refused = check_opaque_text(text);
        ASSERT_FALSE(refused) << text;
        EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
    }
}

}  // namespace
}  // namespace cairn
