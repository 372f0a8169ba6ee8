#include "persistence/save/run_lanes.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>

namespace cairn {

struct RunLanes::Caller {
    std::condition_variable may_go;
};

Result<RunLanes::Turn> RunLanes::enter(const std::string& run_id, Deadline deadline) {
    Caller self;
    std::unique_lock lock(mutex_);
    Entry& entry = *lanes_.try_emplace(run_id).first;
    Lane& lane = entry.second;
    lane.push_back(&self);
    if (self.may_go.wait_until(lock, deadline, [&] { return lane.front() == &self; })) {
        lane.front() = nullptr;  // `self` ends here, the turn does not
        return Turn(*this, entry);
    }
    lane.erase(std::ranges::find(lane, &self));
    return fail(ErrorCode::kUnavailable,
                fmt::format("an earlier save of run \"{}\" was still under way at the deadline", run_id));
}

void RunLanes::leave(Entry& entry) {
    const std::lock_guard lock(mutex_);
    Lane& lane = entry.second;
    lane.pop_front();
    if (lane.empty()) {
        lanes_.erase(lanes_.find(entry.first));
    } else {
        lane.front()->may_go.notify_one();  // under the lock, so that the caller still exists
    }
}

}  // namespace cairn
