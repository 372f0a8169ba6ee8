#pragma once

// The parts that the tests of queued saves share.

#include "support/queue_bench.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cairn::test {

using std::chrono::milliseconds;
using Answer = std::future<Result<Receipt>>;

inline constexpr Durability kSync = Durability::kSync;
inline constexpr Durability kAsync = Durability::kAsync;
inline constexpr Durability kExit = Durability::kExit;

inline void wait_until_past(milliseconds time) {
    std::this_thread::sleep_until(std::chrono::steady_clock::now() + time + milliseconds(1));
}

// Makes a save whose state is worth a delta.
inline StatePersistenceRequest make_large_step(std::string run, std::int64_t step) {
    std::mt19937_64 random(7);
    std::string text = fmt::format(R"({{"step":{},"notes":[)", step);
    for (int i = 0; i < 60; ++i) text += fmt::format(R"("{:016x}",)", random());
    return make_request(std::move(run), text + fmt::format(R"({}]}})", step * step));
}

class GroupCommit : public testing::Test {
protected:
    // Queues one save of each of so many runs, while the store is busy.
    std::vector<Answer> queue_one_of_each(std::size_t runs, std::int64_t step = 1) {
        std::vector<Answer> answers;
        for (std::size_t run = 0; run < runs; ++run) {
            answers.push_back(bench.service().save_async(make_step(name(run), step)));
        }
        EXPECT_TRUE(bench.becomes_queued(runs));
        return answers;
    }
    static std::string name(std::size_t run) { return fmt::format("run-{}", run); }

    // Says whether at least so many saves ever shared a transaction. Without that, a test would show nothing.
    bool were_batched(std::size_t saves) const {
        return std::ranges::any_of(bench.gate.batches(), [&](const auto& batch) { return batch.size() >= saves; });
    }
    void expect_saved(Answer& answer, std::int64_t version) {
        const auto receipt = answer.get();
        ASSERT_TRUE(receipt.has_value()) << receipt.error().to_string();
        EXPECT_EQ(receipt->version, version);
        EXPECT_EQ(receipt->durability, kSync);
    }

    QueueBench bench;
};

}  // namespace cairn::test
