#pragma once

// Saves of one run go one after the other, in call order. Saves of different runs do not wait for each other.

#include "base/text_hash.h"

#include <cairn/error.h>
#include <cairn/types.h>

#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

namespace cairn {

/// Threads: safe to call concurrently. A deadline ends any wait. The waiters behind a caller that gives up keep their
/// places.
class RunLanes {
    struct Caller;
    using Lane = std::deque<Caller*>;  // the caller that has the turn in front, then its waiters
    using Lanes = std::unordered_map<std::string, Lane, TextHash>;
    using Entry = Lanes::value_type;  // its address does not change as long as it is in the map

public:
    /// The right to work on a run, until it is destroyed.
    class Turn {
    public:
        ~Turn() {
            if (lanes_ != nullptr) lanes_->leave(*entry_);
        }
        Turn(Turn&& other) noexcept : lanes_(std::exchange(other.lanes_, nullptr)), entry_(other.entry_) {}
        Turn& operator=(Turn&&) = delete;
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;

    private:
        friend class RunLanes;
        Turn(RunLanes& lanes, Entry& entry) : lanes_(&lanes), entry_(&entry) {}

        RunLanes* lanes_;  // null once moved from
        Entry* entry_;
    };

    /// Waits until every earlier turn of the run has ended.
    /// Errors: kUnavailable (one was still under way at `deadline`).
    [[nodiscard]] Result<Turn> enter(const std::string& run_id, Deadline deadline);

private:
    void leave(Entry& entry);

    std::mutex mutex_;
    Lanes lanes_;  // guarded by mutex_; by run id; no lane is empty
};

}  // namespace cairn
