// Goal: a call that waits holds up nobody but the calls of its own key, and every call is made.
// Method: calls that are blocked until the test lets them go, beside calls that must be made meanwhile.

#include <cairn/call_executor.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

constexpr std::chrono::seconds kVeryLong{60};

// Whether a call that is submitted now is made before the test gives up.
bool is_made(CallExecutor& executor, const std::string& key) {
    const auto made = std::make_shared<std::promise<void>>();
    std::future<void> future = made->get_future();
    executor.submit(key, [made] { made->set_value(); });
    return future.wait_for(kVeryLong) == std::future_status::ready;
}

TEST(CallExecutor, CallsOfOneKeyAreMadeInTheOrderOfTheirSubmission) {
    constexpr int kKeys = 20;
    constexpr int kCalls = 500;
    std::vector<std::vector<int>> made(kKeys);
    {
        CallExecutor executor;
        for (int i = 0; i < kCalls; ++i) {
            for (int key = 0; key < kKeys; ++key) {
                std::vector<int>& of_key = made[static_cast<std::size_t>(key)];
                executor.submit("run-" + std::to_string(key), [&of_key, i] { of_key.push_back(i); });
            }
        }
    }
    for (const std::vector<int>& of_key : made) {
        ASSERT_EQ(of_key.size(), static_cast<std::size_t>(kCalls)) << "the destructor waits for all";
        EXPECT_TRUE(std::ranges::is_sorted(of_key));
    }
}

TEST(CallExecutor, BlockedCallsHoldUpNoOtherKeys) {
    std::latch released(1);
    CallExecutor executor;
    for (int i = 0; i < 40; ++i) {
        executor.submit("blocked-" + std::to_string(i), [&] { released.wait(); });
        EXPECT_TRUE(is_made(executor, "other")) << "behind " << i + 1 << " blocked ones";
        EXPECT_TRUE(is_made(executor, ""));
    }
    released.count_down();
}

TEST(CallExecutor, ACallBehindABlockedOneOfItsKeyWaitsForIt) {
    std::latch released(1);
    std::atomic<bool> is_second_made = false;
    {
        CallExecutor executor;
        executor.submit("run", [&] { released.wait(); });
        executor.submit("run", [&] { is_second_made = true; });
        EXPECT_TRUE(is_made(executor, "other"));
        EXPECT_FALSE(is_second_made);
        released.count_down();
    }
    EXPECT_TRUE(is_second_made);
}

TEST(CallExecutor, WithoutThreadsLeftTheBlockedOnesAreWaitedFor) {
    std::latch released(1);
    std::atomic<int> made = 0;
    {
        CallExecutor executor(2);
        for (int i = 0; i < 2; ++i) executor.submit("", [&] { released.wait(); });
        for (int i = 0; i < 10; ++i) executor.submit("", [&] { ++made; });
        EXPECT_EQ(made, 0);
        released.count_down();
    }
    EXPECT_EQ(made, 10);
}

TEST(CallExecutor, ThreadsAreBoundedHoweverManyCallsCome) {
    std::mutex mutex;
    std::set<std::thread::id> threads;
    {
        CallExecutor executor(8);
        for (int i = 0; i < 5'000; ++i) {
            executor.submit("", [&] {
                const std::lock_guard lock(mutex);
                threads.insert(std::this_thread::get_id());
            });
        }
    }
    EXPECT_GE(threads.size(), 1U);
    EXPECT_LE(threads.size(), 8U);
}

TEST(CallExecutor, ACallMaySubmitOthersAndDestroyItsExecutor) {
    auto executor = std::make_shared<CallExecutor>();
    std::promise<void> inner_made;
    std::promise<void> destroyed;
    CallExecutor& submits = *executor;
    submits.submit("outer", [&] { submits.submit("inner", [&] { inner_made.set_value(); }); });
    EXPECT_EQ(inner_made.get_future().wait_for(kVeryLong), std::future_status::ready);
    submits.submit("last", [&, last = std::move(executor)]() mutable {
        last.reset();
        destroyed.set_value();
    });
    EXPECT_EQ(destroyed.get_future().wait_for(kVeryLong), std::future_status::ready);
}

}  // namespace
}  // namespace cairn::test
