// Goal: an attacker who chooses the keys and the depth of a state cannot make merges slow. The cost of a merge depends
// on the size of the texts, and a merge ends when it is asked to.
// Method: compares keys that std::hash cannot tell apart with others of the same length, and the same bytes at depth 10
// and at depth 1,000. The costs of a pair (CPU time of the thread) may differ by a factor. If each level or key read
// the others again, the costs would differ by many times that factor.

#include "base/text_hash.h"
#include "pipeline/run/run_progress.h"
#include "state/state_members.h"
#include "state/state_merge.h"
#include "state/value_hashes.h"
#include "support/hostile_texts.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string_view>

namespace cairn {
namespace {

constexpr unsigned kBits = 13;
constexpr double kRatioMax = 8;

State parsed(std::string text) {
    Result<State> state = State::parse(std::move(text));
    EXPECT_TRUE(state.has_value());
    return state ? *std::move(state) : State();
}

/// Makes keys that are as long as the colliding ones, and as alike at the front.
std::vector<std::string> plain_keys() {
    std::vector<std::string> keys = test::CollidingKeys::make(kBits);
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const std::string number = std::to_string(i);
        keys[i].replace(keys[i].size() - number.size(), number.size(), number);
    }
    return keys;
}

class CollidingKeys : public testing::Test {
protected:
    static void SetUpTestSuite() { keys_ = test::CollidingKeys::make(kBits); }

    void SetUp() override {
        std::set<std::size_t> hashes;
        for (const std::string& key : keys_) hashes.insert(std::hash<std::string_view>()(key));
        if (hashes.size() != 1) GTEST_SKIP() << "another std::hash than libstdc++'s: these keys do not collide";
    }

    static inline std::vector<std::string> keys_;
};

TEST_F(CollidingKeys, DoNotCollideInOurHash) {
    std::set<std::size_t> hashes;
    for (const std::string& key : keys_) hashes.insert(TextHash()(key));
    EXPECT_EQ(hashes.size(), keys_.size());
}

TEST_F(CollidingKeys, CostAMergePatchWhatOtherKeysCost) {
    const auto cost_of = [](const std::vector<std::string>& keys) {
        const State base = parsed(test::object_of(keys, "1"));
        const State patch = parsed(test::object_of(keys, "2"));
        return test::seconds_of_cpu([&] { EXPECT_EQ(merge_patch(base, patch)->text(), patch.text()); });
    };
    EXPECT_LT(cost_of(keys_), kRatioMax * cost_of(plain_keys()));
}

TEST(HostileDepth, CostsAMergePatchNothing) {
    const std::string filler = R"({"x":")" + std::string(4'000'000, 'z') + R"(","n":)";
    const auto cost_at = [&](std::size_t depth) {
        const State base = parsed(test::nested_objects(depth, filler + "1}"));
        const State patch = parsed(test::nested_objects(depth, R"({"n":2})"));
        return test::seconds_of_cpu([&] { EXPECT_TRUE(merge_patch(base, patch).has_value()); });
    };
    EXPECT_LT(cost_at(1'000), kRatioMax * cost_at(10));
}

// The metadata that says how far a run has come is text from the store, too.
TEST(HostileKeys, CostARunsMetadataWhatItsSizeCosts) {
    const auto cost_of = [](std::size_t count) {
        std::vector<std::string> keys;
        for (std::size_t i = 0; i < count; ++i) keys.push_back(std::to_string(i));
        const std::string metadata = test::object_of(keys, "1");
        return test::seconds_of_cpu([&] { EXPECT_FALSE(RunProgress::parse(metadata).has_value()); });
    };
    constexpr std::size_t kTimes = 8;  // comparing each key with each other one would cost the square of it
    EXPECT_LT(cost_of(4'000 * kTimes), 4 * kTimes * cost_of(4'000));
}

TEST(MergePatch, EndsWhenItIsAskedToStop) {
    std::stop_source stop;
    const State base = parsed(R"({"a":1})");
    EXPECT_TRUE(merge_patch(base, base, {}, stop.get_token()).has_value());
    stop.request_stop();
    const Result<State> merged = merge_patch(base, base, {}, stop.get_token());
    ASSERT_FALSE(merged.has_value());
    EXPECT_EQ(merged.error().code, ErrorCode::kUnavailable);
}

std::uint32_t hash_of(const std::string& text, ValueHashes::KeyOrder order) {
    TokenTree tree(text);
    EXPECT_TRUE(tree.build()) << text;
    return ValueHashes(tree, order).of(0);
}

TEST(ValueHashes, AreTheSameForTheSameValueAndDifferForOthers) {
    using enum ValueHashes::KeyOrder;
    const std::vector<std::string> texts{"{}",           "[]",        "[[]]",        "[1,2]",        "[2,1]",
                                         "[[1],2]",      "[1,[2]]",   R"({"a":1})",  R"({"a":2})",   R"({"b":1})",
                                         R"(["a",1])",   R"(["a"])",  R"({"a":{}})", R"({"a":[]})",  "1",
                                         R"([{"a":1}])", "[1,1]",     R"({"":""})",  R"({"a":"b"})", R"({"b":"a"})",
                                         R"("1")",       "[[[]],[]]", "[[],[[]]]"};
    for (const std::string& left : texts) {
        for (const std::string& right : texts) {
            EXPECT_EQ(hash_of(left, kMatters) == hash_of(right, kMatters), left == right) << left << " " << right;
            EXPECT_EQ(hash_of(left, kIgnored) == hash_of(right, kIgnored), left == right) << left << " " << right;
        }
    }
    const std::string left = R"({"x":[{"a":1,"b":2}],"y":3})";
    const std::string right = R"({"y":3,"x":[{"b":2,"a":1}]})";
    EXPECT_EQ(hash_of(left, kIgnored), hash_of(right, kIgnored));
    EXPECT_NE(hash_of(left, kMatters), hash_of(right, kMatters));
}

}  // namespace
}  // namespace cairn
