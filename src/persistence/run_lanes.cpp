#include "persistence/run_lanes.h"

#include "persistence/guarded.h"

#include <fmt/format.h>

#include <utility>

namespace cairn {
namespace {

std::unexpected<Error> waited_too_long(const std::string& run_id) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("an earlier save of run \"{}\" was still under way at the deadline", run_id));
}

}  // namespace

/// One save under way.
struct RunLanes::Flight {
    explicit Flight(const std::optional<Cargo>& its_cargo) : cargo(its_cargo) {}

    const std::optional<Cargo> cargo;

    std::shared_ptr<Flight> before;  // guarded by RunLanes::mutex_; whom it waits for; kept if it gave up waiting
    bool has_left = false;           // guarded by RunLanes::mutex_

    std::mutex mutex;
    std::condition_variable has_landed;
    std::optional<Status> outcome;  // guarded by mutex

    /// Nothing: still under way at the deadline.
    std::optional<Status> wait(Deadline deadline) {
        std::unique_lock lock(mutex);
        has_landed.wait_until(lock, deadline, [this] { return outcome.has_value(); });
        return outcome;
    }

    void land(Status status) {
        {
            const std::lock_guard lock(mutex);
            outcome = std::move(status);
        }
        has_landed.notify_all();
    }
};

Result<Receipt> RunLanes::run(const std::string& run_id, const std::optional<Cargo>& cargo, Deadline deadline,
                              const Save& save) {
    // Compared outside the lock, since states are large.
    if (const auto last = cargo ? last_of(run_id) : nullptr; last && last->cargo == cargo) {
        std::optional<Status> shared = last->wait(deadline);
        if (!shared) return waited_too_long(run_id);
        if (!*shared) return std::unexpected(std::move(shared->error()));
    }
    const std::shared_ptr<Flight> flight = enter(run_id, cargo);
    Result<Receipt> result = wait_for_earlier(*flight, deadline) ? guarded(save) : waited_too_long(run_id);
    leave(run_id, *flight);
    flight->land(result ? Status{} : Status{std::unexpected(result.error())});
    return result;
}

std::shared_ptr<RunLanes::Flight> RunLanes::last_of(const std::string& run_id) const {
    const std::lock_guard lock(mutex_);
    const auto found = last_.find(run_id);
    return found == last_.end() ? nullptr : found->second;
}

std::shared_ptr<RunLanes::Flight> RunLanes::enter(const std::string& run_id, const std::optional<Cargo>& cargo) {
    const auto flight = std::make_shared<Flight>(cargo);
    const std::lock_guard lock(mutex_);
    flight->before = std::exchange(last_[run_id], flight);
    return flight;
}

bool RunLanes::wait_for_earlier(Flight& flight, Deadline deadline) {
    std::unique_lock lock(mutex_);
    while (const std::shared_ptr<Flight> before = flight.before) {
        lock.unlock();
        if (!before->wait(deadline)) return false;
        lock.lock();
        flight.before = before->before;  // usually nobody; whom `before` was waiting for if it gave up
    }
    return true;
}

void RunLanes::leave(const std::string& run_id, Flight& flight) {
    const std::lock_guard lock(mutex_);
    flight.has_left = true;
    const auto found = last_.find(run_id);
    if (found == last_.end()) return;
    // The lane is empty when everybody from its end back to the first has left.
    const Flight* last = found->second.get();
    while (last != nullptr && last->has_left) last = last->before.get();
    if (last == nullptr) last_.erase(found);
}

}  // namespace cairn
