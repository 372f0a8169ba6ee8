// Goal: snapshot ids are UUIDv7 and unique. After `with_defaults`, a runtime is complete and keeps the given parts.
// Method: the test sets the clock and the random bytes, and finds them in the id's bits.

#include <cairn/runtime.h>

#include "support/make.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace cairn {
namespace {

using test::SeededRandom;
using test::StepClock;
using namespace std::chrono_literals;

// A source that returns the same byte over and over.
class ConstantRandom final : public RandomSource {
public:
    explicit ConstantRandom(std::byte value) : value_(value) {}
    void fill(std::span<std::byte> bytes) override { std::ranges::fill(bytes, value_); }

private:
    std::byte value_;
};

TEST(SnapshotId, HoldsMillisecondsVersionAndVariantWhereRfc9562PutsThem) {
    StepClock clock(0us, Timestamp(std::chrono::milliseconds(0x0123456789AB) + 999us));
    ConstantRandom ones(std::byte{0xFF});
    EXPECT_EQ(make_snapshot_id(clock, ones), "01234567-89ab-7fff-bfff-ffffffffffff");
    ConstantRandom zeros(std::byte{0});
    EXPECT_EQ(make_snapshot_id(clock, zeros), "01234567-89ab-7000-8000-000000000000");
}

TEST(SnapshotId, IsLowerCaseHexInFiveGroups) {
    StepClock clock;
    SeededRandom random(42);
    for (int i = 0; i < 1000; ++i) {
        const std::string id = make_snapshot_id(clock, random);
        ASSERT_EQ(id.size(), 36U);
        for (std::size_t at = 0; at < id.size(); ++at) {
            const bool is_dash = at == 8 || at == 13 || at == 18 || at == 23;
            EXPECT_EQ(id[at] == '-', is_dash) << id;
            EXPECT_NE(std::string("0123456789abcdef-").find(id[at]), std::string::npos) << id;
        }
        EXPECT_EQ(id[14], '7') << id;
        EXPECT_NE(std::string("89ab").find(id[19]), std::string::npos) << id;
    }
}

TEST(SnapshotId, LaterIdsOfOneProcessSortLater) {
    StepClock clock(1ms);
    SeededRandom random(42);
    std::string previous = make_snapshot_id(clock, random);
    for (int i = 0; i < 1000; ++i) {
        std::string next = make_snapshot_id(clock, random);
        EXPECT_LT(previous, next);
        previous = std::move(next);
    }
}

TEST(SnapshotId, ThreadsNeverMakeTheSameOneInOneMillisecond) {
    StepClock clock(0us);
    const Runtime runtime = Runtime{}.with_defaults();
    constexpr std::size_t kThreads = 4;
    std::vector<std::vector<std::string>> made(kThreads);
    {
        std::vector<std::jthread> threads;
        for (auto& ids : made) {
            threads.emplace_back([&clock, &runtime, &ids] {
                for (int i = 0; i < 1000; ++i) ids.push_back(make_snapshot_id(clock, *runtime.random));
            });
        }
    }
    std::set<std::string> unique;
    for (const auto& ids : made) unique.insert(ids.begin(), ids.end());
    EXPECT_EQ(unique.size(), kThreads * 1000);
}

TEST(Runtime, DefaultsFillOnlyWhatIsMissing) {
    const Runtime filled = Runtime{}.with_defaults();
    ASSERT_NE(filled.clock, nullptr);
    ASSERT_NE(filled.random, nullptr);
    ASSERT_NE(filled.log, nullptr);
    filled.log({.event = "test", .message = "goes nowhere"});

    const auto clock = std::make_shared<StepClock>();
    const auto random = std::make_shared<SeededRandom>();
    int logged = 0;
    const Runtime given{.clock = clock, .random = random, .log = [&logged](const LogRecord&) { ++logged; }};
    const Runtime kept = given.with_defaults();
    EXPECT_EQ(kept.clock, clock);
    EXPECT_EQ(kept.random, random);
    kept.log({.event = "test", .message = "counted"});
    EXPECT_EQ(logged, 1);
}

TEST(Runtime, SystemRandomFillsEveryByteOfLongSpans) {
    const Runtime runtime = Runtime{}.with_defaults();
    std::vector<std::byte> bytes(1000);
    std::set<std::size_t> never_set;
    for (std::size_t i = 0; i < bytes.size(); ++i) never_set.insert(i);
    for (int round = 0; round < 20 && !never_set.empty();
         ++round) {  // the chance that a byte is 0 twenty times is 256^-20
        std::ranges::fill(bytes, std::byte{0});
        runtime.random->fill(bytes);
        std::erase_if(never_set, [&](std::size_t i) { return bytes[i] != std::byte{0}; });
    }
    EXPECT_TRUE(never_set.empty());
}

TEST(LogLevel, EveryLevelHasItsWord) {
    EXPECT_EQ(to_string(LogLevel::kDebug), "debug");
    EXPECT_EQ(to_string(LogLevel::kInfo), "info");
    EXPECT_EQ(to_string(LogLevel::kWarning), "warning");
    EXPECT_EQ(to_string(LogLevel::kError), "error");
}

}  // namespace
}  // namespace cairn
