#pragma once

#include <cstdint>
#include <string_view>

namespace cairn {

/// Follows a long task, and may stop it. The task works without one that says anything: this is it.
/// Threads: `advance` and `must_stop` are called from any thread of the task, `begin` from the one that started it.
class TaskWatcher {
public:
    TaskWatcher() = default;
    virtual ~TaskWatcher() = default;
    TaskWatcher(const TaskWatcher&) = delete;
    TaskWatcher& operator=(const TaskWatcher&) = delete;

    /// A part of the task begins that has so many steps; 0: nobody knows.
    virtual void begin(std::string_view /*activity*/, std::uint64_t /*steps*/) {}
    virtual void advance(std::uint64_t /*steps*/ = 1) {}
    /// Whether the task should end at once, as far as it is.
    virtual bool must_stop() { return false; }
};

}  // namespace cairn
