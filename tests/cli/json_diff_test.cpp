// Goal: `cairn diff` shows every difference, and its JSON Patch leads exactly from one state to the other.
// Method: tables of the operations, and of differences that JSON libraries lose. Random pairs of documents, whose patch
// nlohmann::json applies; it shares no code with the diff. Deep texts, and texts whose keys were chosen to collide,
// compared with others of the same size: the thread's CPU time may differ by a generous factor.

#include "state/json_diff.h"

#include "state/state_equality.h"
#include "support/hostile_texts.h"

#include <cairn/state.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <random>

namespace cairn {
namespace {

using ::testing::ElementsAre;

using Json = nlohmann::ordered_json;

std::string patch_of(std::string_view before, std::string_view after) {
    std::string patch;
    diff_json(before, after,
              [&](const JsonChange& change) { patch += (patch.empty() ? "" : ",\n ") + to_json_operation(change); });
    return "[" + patch + "]";
}

struct Case {
    std::string before;
    std::string after;
    std::string patch;
};

TEST(JsonDiff, SaysWhatWasAddedRemovedAndReplaced) {
    const std::vector<Case> cases{
        {R"({})", R"({})", "[]"},
        {R"({"a":1})", R"({"a":2})", R"([{"op":"replace","path":"/a","value":2}])"},
        {R"({"a":1})", R"({})", R"([{"op":"remove","path":"/a"}])"},
        {R"({})", R"({"a":[1,{"b":"x"}]})", R"([{"op":"add","path":"/a","value":[1,{"b":"x"}]}])"},
        {R"({"a":{"b":{"c":1}}})", R"({"a":{"b":{"c":null}}})", R"([{"op":"replace","path":"/a/b/c","value":null}])"},
        {R"({"a":[1,2]})", R"({"a":[1,2,3]})", R"([{"op":"add","path":"/a/2","value":3}])"},
        {R"({"a":[1,2]})", R"({"a":[0,1,2]})", R"([{"op":"add","path":"/a/0","value":0}])"},
        {R"({"a":[1,2,3,4]})", R"({"a":[1]})",
         "[{\"op\":\"remove\",\"path\":\"/a/3\"},\n {\"op\":\"remove\",\"path\":\"/a/2\"},\n"
         " {\"op\":\"remove\",\"path\":\"/a/1\"}]"},
        {R"({"a":[]})", R"({"a":{}})", R"([{"op":"replace","path":"/a","value":{}}])"},
        {R"({"":1})", R"({"":2})", R"([{"op":"replace","path":"/","value":2}])"},
        {R"({"a/b~c":1})", R"({"a/b~c":2})", R"([{"op":"replace","path":"/a~1b~0c","value":2}])"},
        {R"({"a\/b":1})", R"({"a\/b":2})", R"([{"op":"replace","path":"/a~1b","value":2}])"},
        {R"({"q\"\\\n":1})", R"({"q\"\\\n":2})", R"([{"op":"replace","path":"/q\"\\\n","value":2}])"},
        {R"({"s":"a,]}\"\\"})", R"({"s":"a,]}\"\\x"})", R"([{"op":"replace","path":"/s","value":"a,]}\"\\x"}])"},
    };
    for (const Case& c : cases) EXPECT_EQ(patch_of(c.before, c.after), c.patch) << c.before << " -> " << c.after;
}

TEST(JsonDiff, ValuesThatAJsonLibraryTakesForEqualAreChanges) {
    const std::vector<std::pair<std::string, std::string>> pairs{
        {"1", "1.0"},
        {"0.0", "-0.0"},
        {"1e2", "100"},
        {"123456789012345678901234567890", "123456789012345678901234567891"},
        {"0.1", "0.1000000000000000055511151231257827"},
        {R"("é")", R"("\u00e9")"},
        {R"("\ud800")", R"("\ud801")"},
        {R"("\/")", R"("/")"},
    };
    for (const auto& [before, after] : pairs) {
        EXPECT_EQ(patch_of("{\"v\":" + before + "}", "{\"v\":" + after + "}"),
                  R"([{"op":"replace","path":"/v","value":)" + after + "}]");
    }
}

TEST(JsonDiff, LoneSurrogateKeysKeepTheirSpellingInThePath) {
    EXPECT_EQ(patch_of(R"({"\ud800":1})", R"({"\ud800":2})"), R"([{"op":"replace","path":"/\ud800","value":2}])");
    EXPECT_EQ(patch_of(R"({"\ud800~/\/\u002f\u007e\\":1})", R"({})"),
              R"([{"op":"remove","path":"/\ud800~0~1~1~1~0\\"}])");
}

TEST(JsonDiff, KeysThatMeanTheSameAreTheSame) {
    EXPECT_EQ(patch_of(R"({"\u0061":1,"b":1})", R"({"a":2,"b":1})"), R"([{"op":"replace","path":"/a","value":2}])");
}

TEST(JsonDiff, AnotherOrderOrSpellingOfKeysIsNeverCalledNoChange) {
    for (const auto& [before, after] : std::vector<std::pair<std::string, std::string>>{
             {R"({"a":1,"b":2})", R"({"b":2,"a":1})"}, {R"({"a":1})", R"({"\u0061":1})"}}) {
        std::vector<bool> keys_only;
        diff_json(before, after, [&](const JsonChange& change) { keys_only.push_back(change.keys_only); });
        EXPECT_THAT(keys_only, ElementsAre(true));
        EXPECT_EQ(patch_of(before, after), R"([{"op":"replace","path":"","value":)" + after + "}]");
    }
    const std::string inner = patch_of(R"({"x":1,"o":{"a":1,"b":2}})", R"({"x":1,"o":{"b":2,"a":1}})");
    EXPECT_EQ(inner, R"([{"op":"replace","path":"/o","value":{"b":2,"a":1}}])");
}

TEST(JsonDiff, AnObjectWithAKeyTwiceIsReplacedWhole) {
    EXPECT_EQ(patch_of(R"({"o":{"a":1,"a":2}})", R"({"o":{"a":1,"a":3}})"),
              R"([{"op":"replace","path":"/o","value":{"a":1,"a":3}}])");
    EXPECT_EQ(patch_of(R"({"o":{"a":1}})", R"({"o":{"a":1,"\u0061":3}})"),
              R"([{"op":"replace","path":"/o","value":{"a":1,"\u0061":3}}])");
}

TEST(JsonDiff, DepthCostsNoStack) {
    constexpr std::size_t kDepth = 100'000;
    std::string before;
    for (std::size_t i = 0; i < kDepth; ++i) before += R"({"a":)";
    const std::string after = before + "2" + std::string(kDepth, '}');
    before += "1" + std::string(kDepth, '}');
    std::string path;
    for (std::size_t i = 0; i < kDepth; ++i) path += "/a";
    EXPECT_EQ(patch_of(before, after), R"([{"op":"replace","path":")" + path + R"(","value":2}])");
}

constexpr double kRatioMax =
    8;  // it would be hundreds if each level read the texts again, or each key all of its bucket

void diff(const std::string& before, const std::string& after) {
    std::size_t changes = 0;
    diff_json(before, after, [&](const JsonChange&) { ++changes; });
    EXPECT_GT(changes, 0U);
}

TEST(JsonDiff, NoLevelReadsAgainWhatAnotherOneHasRead) {
    const std::string filler = "\"" + std::string(1'000'000, 'z') + "\"";
    const auto lists = [](std::size_t depth, const std::string& innermost) {
        std::string text;
        for (std::size_t i = 0; i < depth; ++i) text += "[";
        return R"({"l":)" + text + innermost + std::string(depth, ']') + "}";
    };
    const auto cost_at = [&](std::size_t depth) {
        return test::seconds_of_cpu([&] {
            // The difference stands behind the filler. In front of it, it would be found at once.
            diff(test::nested_objects(depth, "[" + filler + ",1]"), test::nested_objects(depth, "[" + filler + ",2]"));
            diff(lists(depth, filler + ",1"), lists(depth, filler + ",2"));
            diff(test::nested_objects(depth, "{\"f\":" + filler + R"(,"a":1,"b":2})"),
                 test::nested_objects(depth, "{\"f\":" + filler + R"(,"b":2,"a":1})"));
        });
    };
    EXPECT_LT(cost_at(1'000), kRatioMax * cost_at(10));
}

TEST(JsonDiff, KeysThatStdHashCannotTellApartCostWhatOthersCost) {
    const auto cost_of = [](const std::vector<std::string>& keys) {
        return test::seconds_of_cpu([&] { diff(test::object_of(keys, "1"), test::object_of(keys, "2")); });
    };
    std::vector<std::string> keys = test::CollidingKeys::make(13);
    const double colliding = cost_of(keys);
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i].replace(0, 8, fmt::format("{:08}", i));
    EXPECT_LT(colliding, kRatioMax * cost_of(keys));
}

TEST(JsonDiff, TextsThatLieAreReadInTheirBounds) {
    for (const std::string before : {"", "{", "{\"a\"}", "[1 2]", "{\\ :1}", "{ab\\c:1}", "{\xC3\xA9x:1}", "]", "{]"}) {
        for (const std::string after : {"{}", "[]", "{\"a\":1}", "{ab\\d:2}", "[1 3]", "nonsense"}) {
            patch_of(before, after);
            patch_of(after, before);
        }
    }
}

// Small documents over few keys and values, so that two of them have much in common.
class Generator {
public:
    explicit Generator(unsigned seed) : random_(seed) {}

    Json object(int depth = 3) {
        static const std::vector<std::string> kKeys{"a", "b", "c/d", "~", "", "é", "\"", "\\", "long key"};
        Json made = Json::object();
        for (std::size_t i = below(5); i > 0; --i) made[kKeys[below(kKeys.size())]] = value(depth - 1);
        return made;
    }

    // A few edits, the way an agent changes its state.
    Json edited(Json document) {
        for (std::size_t i = below(4); i > 0; --i) edit(document);
        return document;
    }

private:
    std::size_t below(std::size_t bound) { return random_() % bound; }

    Json value(int depth) {
        switch (below(depth > 0 ? 7 : 5)) {
            case 0:
                return below(3);
            case 1:
                return fmt::format("x{}", std::string(below(3), '}'));
            case 2:
                return below(2) == 0;
            case 3:
                return 0.5;
            case 4:
                return nullptr;
            case 5:
                return object(depth);
            default:
                return array(depth);
        }
    }

    Json array(int depth) {
        Json made = Json::array();
        for (std::size_t i = below(5); i > 0; --i) made.push_back(value(depth - 1));
        return made;
    }

    void edit(Json& node) {
        if (!node.is_structured() || node.empty() || below(4) == 0) return replace(node);
        auto child = node.begin();
        std::advance(child, static_cast<std::ptrdiff_t>(below(node.size())));
        if (below(4) == 0) {
            node.erase(child);
        } else if (below(4) == 0 && node.is_array()) {
            node.insert(child, value(1));
        } else {
            edit(*child);
        }
    }

    void replace(Json& node) {
        if (node.is_object()) {
            node["b"] = value(2);
        } else if (node.is_array()) {
            node.push_back(value(1));
        } else {
            node = value(2);
        }
    }

    std::mt19937 random_;
};

void expect_patch_leads_from_one_to_the_other(const Json& before, const Json& after) {
    const std::string from = before.dump();
    const std::string to = after.dump();
    const std::string patch = patch_of(from, to);
    EXPECT_EQ(patch == "[]", from == to);
    const std::string result = before.patch(Json::parse(patch)).dump();
    EXPECT_TRUE(json_equal(State::parse(result).value().text(), State::parse(to).value().text())) << from << "\n"
                                                                                                  << to << "\n"
                                                                                                  << result;
}

TEST(JsonDiff, ThePatchOfRandomPairsLeadsFromOneToTheOther) {
    for (unsigned seed = 1; seed <= 3000; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}", seed));
        Generator generator(seed);
        const Json before = generator.object();
        expect_patch_leads_from_one_to_the_other(before, generator.edited(before));
        expect_patch_leads_from_one_to_the_other(before, generator.object());
        if (HasFailure()) return;
    }
}

}  // namespace
}  // namespace cairn
