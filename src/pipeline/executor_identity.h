#pragma once

// Which process executes a run, so that another one on the same machine can see at once that it is gone.

#include <cairn/runtime.h>
#include <cairn/store.h>
#include <cairn/types.h>

#include <chrono>
#include <string>

namespace cairn {

/// A lease's owner for one execution in this process: unique.
std::string make_owner(Runtime& runtime);

/// "process 4711 on build-7", for people.
std::string describe_owner(const std::string& owner);

/// Whether somebody executes the run: not if nobody holds the lease, if its process is known to be gone (same machine),
/// or if its last heartbeat is further from `now` than `silence`: clocks of two machines differ a little, but one that
/// was set back leaves heartbeats far in the future, and they prove no life.
bool is_alive(const LeaseInfo& lease, Timestamp now, std::chrono::milliseconds silence);

}  // namespace cairn
