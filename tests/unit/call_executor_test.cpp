// Goal: a call that waits holds up only the calls of its own key, and every call is made.
// Method: some calls are blocked until the test releases them, and other calls must be made meanwhile.

#include <cairn/call_executor.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {
namespace {

constexpr std::chrono::seconds kVeryLong{60};

// Submits a call. Returns whether it is made before the test gives up.
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

// ---- calls that are refused ----

/// The ending of a call: made or refused with an error, and exactly once.
class Ending {
public:
    std::function<void(Status)> call() {
        return [shared = shared_](Status admitted) { shared->set_value(std::move(admitted)); };
    }
    Status get() {
        if (future_.wait_for(kVeryLong) == std::future_status::ready) return future_.get();
        return fail(ErrorCode::kInternal, "it has not ended");
    }
    bool has_ended() const { return future_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

private:
    std::shared_ptr<std::promise<Status>> shared_ = std::make_shared<std::promise<Status>>();
    std::future<Status> future_ = shared_->get_future();
};

TEST(CallExecutor, ACancelledCallIsRefusedWhileItsKeyIsHeldUpAndTheNextOneTakesItsPlace) {
    std::latch released(1);
    CallExecutor executor;
    executor.submit("run", [&] { released.wait(); });
    Ending cancelled;
    Ending behind;
    const CallExecutor::Submitted call = executor.submit("run", Deadline::max(), cancelled.call());
    executor.submit("run", Deadline::max(), behind.call());
    EXPECT_TRUE(call.cancel());
    EXPECT_FALSE(call.cancel()) << "a second time";
    EXPECT_EQ(cancelled.get().error().code, ErrorCode::kCancelled);
    EXPECT_FALSE(behind.has_ended());
    released.count_down();
    EXPECT_TRUE(behind.get());
}

TEST(CallExecutor, RefusalsAreToldWhileEveryThreadIsBlocked) {
    std::latch begun(2);
    std::latch released(1);
    CallExecutor executor(2);
    for (int i = 0; i < 2; ++i) {
        executor.submit("", [&] {
            begun.count_down();
            released.wait();
        });
    }
    begun.wait();
    Ending cancelled;
    Ending late;
    Ending behind_the_cancelled;
    const CallExecutor::Submitted call = executor.submit("run", Deadline::max(), cancelled.call());
    executor.submit("run", Deadline::max(), behind_the_cancelled.call());
    executor.submit("other", std::chrono::steady_clock::now() + std::chrono::milliseconds(20), late.call());
    EXPECT_TRUE(call.cancel());
    EXPECT_EQ(cancelled.get().error().code, ErrorCode::kCancelled);
    const Status refused = late.get();
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    EXPECT_EQ(refused.error().message, "an earlier call of \"other\" was still under way at the deadline");
    EXPECT_FALSE(behind_the_cancelled.has_ended());
    released.count_down();
    EXPECT_TRUE(behind_the_cancelled.get());
}

TEST(CallExecutor, DeadlinesOfAnyOrderAreKept) {
    std::latch released(1);
    CallExecutor executor;
    executor.submit("run", [&] { released.wait(); });
    const Deadline now = std::chrono::steady_clock::now();
    Ending never;
    executor.submit("run", Deadline::max(), never.call());
    std::vector<Ending> endings(20);
    for (std::size_t i = 0; i < endings.size(); ++i) {
        const auto order = (i * 7) % endings.size();
        executor.submit("run", now + std::chrono::milliseconds(5 * order), endings[i].call());
    }
    for (Ending& ending : endings) EXPECT_EQ(ending.get().error().code, ErrorCode::kUnavailable);
    Ending passed;
    executor.submit("", now, passed.call());
    EXPECT_EQ(passed.get().error().code, ErrorCode::kUnavailable) << "a deadline that has passed before";
    EXPECT_FALSE(never.has_ended());
    released.count_down();
    EXPECT_TRUE(never.get());
}

TEST(CallExecutor, ItsDestructorTellsWhatWasRefused) {
    std::latch released(1);
    std::atomic<int> refused = 0;
    auto executor = std::make_unique<CallExecutor>();
    executor->submit("run", [&] { released.wait(); });
    std::vector<CallExecutor::Submitted> calls;
    for (int i = 0; i < 100; ++i) {
        calls.push_back(executor->submit("run", Deadline::max(), [&](const Status& status) { refused += !status; }));
    }
    for (const CallExecutor::Submitted& call : calls) EXPECT_TRUE(call.cancel());
    released.count_down();
    executor.reset();
    EXPECT_EQ(refused, 100);
    for (const CallExecutor::Submitted& call : calls) EXPECT_FALSE(call.cancel()) << "of an executor that is gone";
}

TEST(CallExecutor, AnExceptionOfACallIsToldAndEndsNothingElse) {
    CallExecutor executor;
    executor.submit("run", [] { throw std::runtime_error("of the test"); });
    std::promise<Result<int>> answer;
    executor.call(
        "run", Deadline::max(), []() -> Result<int> { throw std::runtime_error("of the test"); },
        [&](Result<int> result) { answer.set_value(std::move(result)); });
    const Result<int> told = answer.get_future().get();
    EXPECT_EQ(told.error().code, ErrorCode::kInternal);
    EXPECT_EQ(told.error().detail, "of the test");
    EXPECT_TRUE(is_made(executor, "run"));
}

TEST(CallExecutor, ACallMadeForACompletionTellsItsAnswerOrItsRefusal) {
    std::latch released(1);
    CallExecutor executor;
    executor.submit("run", [&] { released.wait(); });
    std::promise<Result<int>> cancelled;
    std::promise<Result<int>> answer;
    const auto seven = []() -> Result<int> { return 7; };
    const auto call = executor.call("run", Deadline::max(), seven,
                                    [&](Result<int> result) { cancelled.set_value(std::move(result)); });
    executor.call("run", Deadline::max(), seven, [&](Result<int> result) { answer.set_value(std::move(result)); });
    EXPECT_TRUE(call.cancel());
    EXPECT_EQ(cancelled.get_future().get().error().code, ErrorCode::kCancelled);
    released.count_down();
    EXPECT_EQ(answer.get_future().get().value(), 7);
}

}  // namespace
}  // namespace cairn::test
