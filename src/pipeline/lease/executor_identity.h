#pragma once

// Which process executes a run, so that another one on the same machine can see at once that it is gone.

#include <cairn/runtime.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <chrono>
#include <string>

namespace cairn {

/// A lease's owner for one execution in this process: unique. The process knows that it executes as long as this lives.
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

/// Whether somebody executes the run: not if nobody holds the lease. On the same machine its process is asked: there,
/// it is never silent, whatever the clock says. Otherwise the last heartbeat counts, unless it is further from `now`
/// than `silence`: clocks of two machines differ a little, but one that was set back leaves heartbeats far in the
/// future, and they prove no life.
bool is_alive(const LeaseInfo& lease, Timestamp now, std::chrono::milliseconds silence);

}  // namespace cairn
