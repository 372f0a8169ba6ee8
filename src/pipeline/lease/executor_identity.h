#pragma once

// Identifies the process that executes a run, so that others on the same machine see at once when it is gone.

#include <cairn/runtime.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <chrono>
#include <string>

namespace cairn {

/// The owner of a lease for one execution in this process; it is unique. While this object lives, the process counts
/// the execution as alive.
class ExecutorIdentity {
public:
    explicit ExecutorIdentity(Runtime& runtime);
    ~ExecutorIdentity();
    ExecutorIdentity(const ExecutorIdentity&) = delete;
    ExecutorIdentity& operator=(const ExecutorIdentity&) = delete;

    const std::string& owner() const { return owner_; }

private:
    const std::string owner_;
};

/// "process 4711 on build-7", for people.
std::string describe_owner(const std::string& owner);

/// Says whether somebody executes the run. False if nobody holds the lease. On the same machine the holder's process is
/// examined: it counts as alive however silent it is, whatever the clock says. Otherwise the last heartbeat counts,
/// unless it is further from `now` than `silence`. (Clocks of two machines differ a little, but a clock that was set
/// back leaves heartbeats far in the future, and these are no sign of life.)
bool is_alive(const LeaseInfo& lease, Timestamp now, std::chrono::milliseconds silence);

}  // namespace cairn
