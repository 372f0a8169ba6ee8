// Goal: the parts that the services are made of keep their own promises: the cache its bounds and its order, the
// histogram its precision, the lanes the order of one run's saves and the sharing of a failure.
// Method: each part alone, threads held at known points by latches and hooks rather than by waiting.

#include "persistence/head_cache.h"
#include "persistence/latency_histogram.h"
#include "persistence/run_lanes.h"
#include "persistence/seen_versions.h"

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

CachedHead head_of(std::int64_t version, std::string_view text) {
    return {.snapshot_id = std::to_string(version), .version = version, .state = State::parse(text).value()};
}

TEST(HeadCache, EvictsTheRunUsedLongestAgoNotTheOneThatCameFirst) {
    HeadCache cache(2, 1000);
    cache.put("first", head_of(1, "{}"));
    cache.put("second", head_of(1, "{}"));
    ASSERT_NE(cache.find("first"), nullptr);
    cache.put("third", head_of(1, "{}"));
    EXPECT_NE(cache.find("first"), nullptr);
    EXPECT_EQ(cache.find("second"), nullptr);
    EXPECT_EQ(cache.figures().evictions, 1U);
    EXPECT_EQ(cache.figures().run_ids, (std::vector<std::string>{"first", "third"}));
}

TEST(HeadCache, IsBoundedByBytesAsWellAsByEntries) {
    HeadCache cache(100, 20);
    cache.put("a", head_of(1, R"({"a":"12345"})"));  // 13 bytes
    cache.put("b", head_of(1, R"({"b":1})"));        // 7 bytes
    EXPECT_EQ(cache.figures().bytes, 20U);
    cache.put("c", head_of(1, R"({})"));
    EXPECT_EQ(cache.find("a"), nullptr);
    EXPECT_EQ(cache.figures().bytes, 9U);
}

TEST(HeadCache, AStateLargerThanAllTheBytesIsNotKeptAndReplacesWhatWasThere) {
    HeadCache cache(10, 10);
    cache.put("run", head_of(1, "{}"));
    cache.put("run", head_of(2, R"({"a":"1234567890"})"));
    EXPECT_EQ(cache.find("run"), nullptr);
    EXPECT_EQ(cache.figures().bytes, 0U);
}

TEST(HeadCache, AnOlderVersionNeverReplacesANewerOne) {
    HeadCache cache(10, 1000);
    cache.put("run", head_of(5, R"({"v":5})"));
    cache.put("run", head_of(4, R"({"v":4})"));
    EXPECT_EQ(cache.find("run")->version, 5);
}

TEST(HeadCache, AResizeEvictsAtOnce) {
    HeadCache cache(10, 1000);
    for (int i = 0; i < 10; ++i) cache.put(std::to_string(i), head_of(1, "{}"));
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

TEST(SeenVersions, ForgetsTheRunNotedLongestAgoAndNeverGoesBack) {
    SeenVersions seen(2);
    seen.note("a", 3);
    seen.note("a", 2);
    seen.note("b", 1);
    EXPECT_EQ(seen.find("a"), 3);
    seen.note("a", 4);
    seen.note("c", 1);
    EXPECT_EQ(seen.find("b"), std::nullopt);
    EXPECT_EQ(seen.find("a"), 4);
}

Cargo cargo_of(std::string_view text) {
    return {.state = State::parse(text).value(), .thread_id = "t", .user_id = "u"};
}

Result<Receipt> saved() {
    return Receipt{};
}

TEST(RunLanes, SavesOfOneRunNeverOverlapAndKeepTheirOrder) {
    RunLanes lanes;
    std::vector<int> order;
    std::atomic<int> inside = 0;
    std::vector<std::jthread> threads;
    std::promise<void> may_end;
    std::latch first_is_in(1);
    threads.emplace_back([&] {
        (void)lanes.run("run", std::nullopt, test::soon(), [&] {
            first_is_in.count_down();
            may_end.get_future().wait();
            order.push_back(0);
            return saved();
        });
    });
    first_is_in.wait();
    for (int i = 1; i <= 8; ++i) {
        threads.emplace_back([&, i] {
            (void)lanes.run("run", std::nullopt, test::soon(), [&] {
                EXPECT_EQ(++inside, 1);
                order.push_back(i);
                --inside;
                return saved();
            });
        });
    }
    may_end.set_value();
    threads.clear();
    EXPECT_EQ(order.size(), 9U);
    EXPECT_EQ(order.front(), 0);
}

TEST(RunLanes, AnotherRunDoesNotWait) {
    RunLanes lanes;
    (void)lanes.run("slow", std::nullopt, test::soon(), [&] {
        // Inside the first run's save: another run's goes through on this very thread.
        EXPECT_TRUE(lanes.run("other", std::nullopt, test::soon(), saved));
        return saved();
    });
}

TEST(RunLanes, WhoGivesUpWaitingLetsThoseBehindKeepTheirPlace) {
    RunLanes lanes;
    std::promise<void> may_end;
    std::latch first_is_in(1);
    std::atomic<bool> first_has_ended = false;
    std::jthread first([&] {
        (void)lanes.run("run", std::nullopt, test::soon(), [&] {
            first_is_in.count_down();
            may_end.get_future().wait();
            first_has_ended = true;
            return saved();
        });
    });
    first_is_in.wait();
    const Result<Receipt> impatient =
        lanes.run("run", std::nullopt, std::chrono::steady_clock::now() + 1ms, [] { return saved(); });
    ASSERT_FALSE(impatient);
    EXPECT_EQ(impatient.error().code, ErrorCode::kUnavailable);
    std::jthread behind([&] {
        (void)lanes.run("run", std::nullopt, test::soon(), [&] {
            EXPECT_TRUE(first_has_ended);
            return saved();
        });
    });
    may_end.set_value();
}

TEST(RunLanes, AnEqualSaveUnderWaySharesItsFailureWithoutRunning) {
    RunLanes lanes;
    std::latch first_is_in(1);
    std::promise<void> may_end;
    std::jthread first([&] {
        (void)lanes.run("run", cargo_of(R"({"a":1})"), test::soon(), [&]() -> Result<Receipt> {
            first_is_in.count_down();
            may_end.get_future().wait();
            return fail(ErrorCode::kStorageFull, "no space");
        });
    });
    first_is_in.wait();
    std::atomic<bool> has_run = false;
    auto second = std::async(std::launch::async, [&] {
        return lanes.run("run", cargo_of(R"({"a":1})"), test::soon(), [&] {
            has_run = true;
            return saved();
        });
    });
    EXPECT_EQ(second.wait_for(20ms), std::future_status::timeout);  // it must not answer before the first has
    may_end.set_value();
    const Result<Receipt> shared = second.get();
    first.join();
    ASSERT_FALSE(shared);
    EXPECT_EQ(shared.error().code, ErrorCode::kStorageFull);
    EXPECT_FALSE(has_run);
}

TEST(RunLanes, ADifferentSaveDoesNotShareAFailure) {
    RunLanes lanes;
    std::latch first_is_in(1);
    std::promise<void> may_end;
    std::jthread first([&] {
        (void)lanes.run("run", cargo_of(R"({"a":1})"), test::soon(), [&]() -> Result<Receipt> {
            first_is_in.count_down();
            may_end.get_future().wait();
            return fail(ErrorCode::kStorageFull, "no space");
        });
    });
    first_is_in.wait();
    auto second =
        std::async(std::launch::async, [&] { return lanes.run("run", cargo_of(R"({"a":2})"), test::soon(), saved); });
    may_end.set_value();
    EXPECT_TRUE(second.get());
}

}  // namespace
}  // namespace cairn
