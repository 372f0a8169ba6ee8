// Goal: the parts of the services keep their own promises: the cache its bounds and its order, the histogram its
// precision, the lanes the order of one run's saves, and the seen versions what they remember.
// Method: each part alone. Latches and hooks, and no sleeping, hold threads at known points.

#include "persistence/latency_histogram.h"
#include "persistence/save/head_cache.h"
#include "persistence/save/run_lanes.h"
#include "persistence/save/seen_versions.h"

#include "support/make.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <latch>
#include <random>
#include <thread>

namespace cairn {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<const CachedHead> head_of(std::string run_id, std::int64_t version, std::string_view text) {
    CachedHead head;
    head.state = State::parse(text).value();
    head.info.run_id = std::move(run_id);
    head.info.version = version;
    return std::make_shared<const CachedHead>(std::move(head));
}

TEST(HeadCache, EvictsTheRunUsedLongestAgoNotTheOneThatCameFirst) {
    HeadCache cache(2, 1000);
    cache.put(head_of("first", 1, "{}"));
    cache.put(head_of("second", 1, "{}"));
    ASSERT_NE(cache.find("first"), nullptr);
    cache.put(head_of("third", 1, "{}"));
    EXPECT_NE(cache.find("first"), nullptr);
    EXPECT_EQ(cache.find("second"), nullptr);
    EXPECT_EQ(cache.figures().evictions, 1U);
    EXPECT_EQ(cache.figures().run_ids, (std::vector<std::string>{"first", "third"}));
}

TEST(HeadCache, IsBoundedByBytesAsWellAsByEntries) {
    HeadCache cache(100, 20);
    cache.put(head_of("a", 1, R"({"a":"12345"})"));  // 13 bytes
    cache.put(head_of("b", 1, R"({"b":1})"));        // 7 bytes
    EXPECT_EQ(cache.figures().bytes, 20U);
    cache.put(head_of("c", 1, R"({})"));
    EXPECT_EQ(cache.find("a"), nullptr);
    EXPECT_EQ(cache.figures().bytes, 9U);
}

TEST(HeadCache, AStateLargerThanAllTheBytesIsNotKeptAndReplacesWhatWasThere) {
    HeadCache cache(10, 10);
    cache.put(head_of("run", 1, "{}"));
    cache.put(head_of("run", 2, R"({"a":"1234567890"})"));
    EXPECT_EQ(cache.find("run"), nullptr);
    EXPECT_EQ(cache.figures().bytes, 0U);
}

TEST(HeadCache, AnOlderVersionNeverReplacesANewerOne) {
    HeadCache cache(10, 1000);
    cache.put(head_of("run", 5, R"({"v":5})"));
    cache.put(head_of("run", 4, R"({"v":4})"));
    EXPECT_EQ(cache.find("run")->info.version, 5);
}

TEST(HeadCache, AResizeEvictsAtOnce) {
    HeadCache cache(10, 1000);
    for (int i = 0; i < 10; ++i) cache.put(head_of(std::to_string(i), 1, "{}"));
    cache.resize(3, 1000);
    EXPECT_EQ(cache.figures().run_ids, (std::vector<std::string>{"9", "8", "7"}));
    cache.clear();
    EXPECT_EQ(cache.figures().size, 0U);
    EXPECT_EQ(cache.figures().bytes, 0U);
}

TEST(LatencyHistogram, QuantilesAreWithinFourPercentOfTheExactOnes) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    std::lognormal_distribution<double> nanoseconds(11, 2);
    LatencyHistogram histogram;
    std::vector<double> exact;
    for (int i = 0; i < 20'000; ++i) {
        const auto value = static_cast<std::int64_t>(nanoseconds(random)) + 1;
        histogram.record(std::chrono::nanoseconds(value));
        exact.push_back(static_cast<double>(value) / 1000.0);
    }
    std::ranges::sort(exact);
    const LatencySummary summary = histogram.summary();
    EXPECT_EQ(summary.count, exact.size());
    EXPECT_NEAR(summary.p50_us, exact[9'999], exact[9'999] * 0.04);
    EXPECT_NEAR(summary.p90_us, exact[17'999], exact[17'999] * 0.04);
    EXPECT_NEAR(summary.p99_us, exact[19'799], exact[19'799] * 0.04);
    EXPECT_DOUBLE_EQ(summary.max_us, exact.back());
}

TEST(LatencyHistogram, TakesTheExtremes) {
    LatencyHistogram histogram;
    EXPECT_EQ(histogram.summary().p99_us, 0.0);
    histogram.record(std::chrono::nanoseconds(0));
    histogram.record(std::chrono::nanoseconds(-5));
    histogram.record(std::chrono::nanoseconds::max());
    EXPECT_EQ(histogram.summary().count, 3U);
}

TEST(SeenVersions, ForgetsTheRunNotedLongestAgo) {
    SeenVersions seen(2);
    seen.note("a", 3);
    seen.note("b", 1);
    EXPECT_EQ(seen.find("a"), 3);
    seen.note("a", 4);
    seen.note("c", 1);
    EXPECT_EQ(seen.find("b"), std::nullopt);
    EXPECT_EQ(seen.find("a"), 4);
}

TEST(SeenVersions, AReadThatASaveOvertookTakesNothingBackButARunMadeAnewDoes) {
    SeenVersions seen;
    seen.note_read("run", 3, seen.find("run"));
    const auto before = seen.find("run");
    EXPECT_EQ(before, 3);
    seen.note("run", 4);
    seen.note_read("run", 3, before);
    EXPECT_EQ(seen.find("run"), 4) << "a save came in between";
    seen.note_read("run", 1, seen.find("run"));
    EXPECT_EQ(seen.find("run"), 1);
    seen.note_read("run", 0, seen.find("run"));
    EXPECT_EQ(seen.find("run"), 0);
    seen.note_read("another", 0, seen.find("another"));
    EXPECT_EQ(seen.find("another"), std::nullopt) << "there is nothing that a save could conflict with";
}

TEST(RunLanes, TurnsOfOneRunNeverOverlapAndKeepTheirOrder) {
    RunLanes lanes;
    std::vector<int> order;
    std::atomic<int> inside = 0;
    std::vector<std::jthread> threads;
    {
        const Result<RunLanes::Turn> first = lanes.enter("run", test::soon());
        for (int i = 1; i <= 8; ++i) {
            threads.emplace_back([&, i] {
                const Result<RunLanes::Turn> turn = lanes.enter("run", test::soon());
                EXPECT_EQ(++inside, 1);
                order.push_back(i);
                --inside;
            });
        }
        order.push_back(0);
    }
    threads.clear();
    EXPECT_EQ(order.size(), 9U);
    EXPECT_EQ(order.front(), 0);
}

TEST(RunLanes, AnotherRunDoesNotWait) {
    RunLanes lanes;
    const Result<RunLanes::Turn> slow = lanes.enter("slow", test::soon());
    EXPECT_TRUE(lanes.enter("other", std::chrono::steady_clock::now()));
}

TEST(RunLanes, AWaiterThatGivesUpLetsThoseBehindItKeepTheirPlaces) {
    RunLanes lanes;
    std::atomic<bool> first_has_ended = false;
    std::jthread behind;
    {
        const Result<RunLanes::Turn> first = lanes.enter("run", test::soon());
        const Result<RunLanes::Turn> impatient = lanes.enter("run", std::chrono::steady_clock::now() + 1ms);
        ASSERT_FALSE(impatient);
        EXPECT_EQ(impatient.error().code, ErrorCode::kUnavailable);
        behind = std::jthread([&] {
            EXPECT_TRUE(lanes.enter("run", test::soon()));
            EXPECT_TRUE(first_has_ended);
        });
        first_has_ended = true;
    }
}

}  // namespace
}  // namespace cairn
