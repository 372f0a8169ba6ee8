// Goal: a timer makes each call once, when its time has come, in the order of the times. It never makes a call that was
// cancelled.
// Method: times in the past, which have come already, and times far in the future; calls that wait for the test.

#include "base/timer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace cairn::test {
namespace {

using std::chrono::steady_clock;
constexpr std::chrono::seconds kVeryLong{60};

TEST(Timer, CallsAreMadeInTheOrderOfTheirTimesOnOneThread) {
    const auto begin = steady_clock::now();
    constexpr int kTimers = 200;
    std::mutex mutex;
    std::vector<int> made;
    std::set<std::thread::id> threads;
    std::promise<void> last;
    std::vector<Timer> timers;
    for (int i = kTimers - 1; i >= 0; --i) {
        timers.emplace_back(begin + std::chrono::milliseconds(50) + std::chrono::microseconds(i * 100), [&, i] {
            const std::lock_guard lock(mutex);
            made.push_back(i);
            threads.insert(std::this_thread::get_id());
            if (made.size() == kTimers) last.set_value();
        });
    }
    ASSERT_EQ(last.get_future().wait_for(kVeryLong), std::future_status::ready);
    EXPECT_GE(steady_clock::now() - begin, std::chrono::milliseconds(50));
    EXPECT_TRUE(std::ranges::is_sorted(made));
    EXPECT_EQ(threads.size(), 1U);
    EXPECT_FALSE(threads.contains(std::this_thread::get_id()));
}

TEST(Timer, OneThatWasCalledOffIsNotMadeWhileOthersAre) {
    std::atomic<bool> is_made = false;
    std::promise<void> later;
    {
        const Timer called_off(steady_clock::now() + std::chrono::milliseconds(20), [&] { is_made = true; });
    }
    const Timer after(steady_clock::now() + std::chrono::milliseconds(40), [&] { later.set_value(); });
    ASSERT_EQ(later.get_future().wait_for(kVeryLong), std::future_status::ready);
    EXPECT_FALSE(is_made);
}

TEST(Timer, CallingOffWaitsForACallThatIsBeingMade) {
    std::promise<void> begun;
    std::promise<void> released;
    std::atomic<bool> is_over = false;
    Timer timer(steady_clock::now(), [&] {
        begun.set_value();
        released.get_future().wait();
        is_over = true;
    });
    ASSERT_EQ(begun.get_future().wait_for(kVeryLong), std::future_status::ready);
    std::thread releasing([&] {
        EXPECT_FALSE(is_over);
        released.set_value();
    });
    timer.cancel();
    EXPECT_TRUE(is_over);
    releasing.join();
}

TEST(Timer, ACallMayCallOffItselfAndOthersAndSetNewOnes) {
    std::promise<void> made;
    std::atomic<bool> is_other_made = false;
    Timer other(steady_clock::now() + kVeryLong, [&] { is_other_made = true; });
    Timer next;
    Timer self;
    std::promise<void> is_assigned;
    self = Timer(steady_clock::now(), [&] {
        is_assigned.get_future().wait();
        other.cancel();
        self.cancel();
        next = Timer(steady_clock::now(), [&] { made.set_value(); });
    });
    is_assigned.set_value();
    EXPECT_EQ(made.get_future().wait_for(kVeryLong), std::future_status::ready);
    EXPECT_FALSE(is_other_made);
}

}  // namespace
}  // namespace cairn::test
