#pragma once

#include <cstdint>
#include <string_view>

namespace cairn {

/// Follows a long task, and may stop it. This base class does nothing: use it for a task that nobody watches.
/// Threads: `advance` and `must_stop` are called from any thread of the task, `begin` from the one that started it.
class TaskWatcher {
public:
    TaskWatcher() = default;
    virtual ~TaskWatcher() = default;
    TaskWatcher(const TaskWatcher&) = delete;
    TaskWatcher& operator=(const TaskWatcher&) = delete;

    /// A part of the task with this many steps begins; 0: unknown.
    virtual void begin(std::string_view /*activity*/, std::uint64_t /*steps*/) {}
    virtual void advance(std::uint64_t /*steps*/ = 1) {}
    /// Returns true if the task should end at once, with the work done so far.
    virtual bool must_stop() { return false; }
};

}  // namespace cairn
