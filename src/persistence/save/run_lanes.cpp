#include "persistence/save/run_lanes.h"

#include <fmt/format.h>

namespace cairn {

struct RunLanes::Caller : Lane::Place {
    using Place::Place;

    bool has_turn = false;
    ConditionVariable may_go;
};

Result<RunLanes::Turn> RunLanes::enter(const std::string& run_id, Deadline deadline) {
    const MutexLock lock(mutex_);
    const auto [found, is_first] = lanes_.try_emplace(run_id);
    if (!is_first) {
        Caller self(found->second);
        while (!self.has_turn && self.may_go.wait_until(mutex_, deadline)) {
        }
        if (!self.has_turn) {
            return fail(ErrorCode::kUnavailable,
                        fmt::format("an earlier save of run \"{}\" was still under way at the deadline", run_id));
        }
    }
    return Turn(*this, *found);
}

void RunLanes::leave(Entry& entry) {
    const MutexLock lock(mutex_);
    if (Caller* const next = entry.second.front()) {
        next->has_turn = true;
        next->may_go.notify_one();  // under the lock, so that the caller still exists
    } else {
        lanes_.erase(lanes_.find(entry.first));
    }
}

}  // namespace cairn
