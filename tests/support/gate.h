#pragma once

// Holds up the commits of a store, for tests of what happens meanwhile.

#include <cairn/store.h>

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace cairn::test {

/// Holds up commits while it is closed, and records what they consist of.
class Gate {
public:
    void close() {
        const std::lock_guard lock(mutex_);
        is_closed_ = true;
    }
    void open() {
        const std::lock_guard lock(mutex_);
        is_closed_ = false;
        changed_.notify_all();
    }
    void pass(std::span<const RunBatch> commit) {
        std::unique_lock lock(mutex_);
        std::vector<std::string> runs;
        for (const RunBatch& batch : commit) runs.insert(runs.end(), batch.writes.size(), batch.run_id);
        batches_.push_back(std::move(runs));
        ++waiting_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return !is_closed_; });
        --waiting_;
    }
    /// Waits until so many commits are held up.
    void await(std::size_t commits) {
        std::unique_lock lock(mutex_);
        EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return waiting_ >= commits; }))
            << "no commit was begun";
    }
    /// Returns, for each commit so far, the runs that it wrote to.
    std::vector<std::vector<std::string>> batches() const {
        const std::lock_guard lock(mutex_);
        return batches_;
    }
    void forget_batches() {
        const std::lock_guard lock(mutex_);
        batches_.clear();
    }

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool is_closed_ = false;
    std::size_t waiting_ = 0;
    std::vector<std::vector<std::string>> batches_;
};

}  // namespace cairn::test
