#pragma once

#include "pipeline/agents/descriptor.h"

#include <sys/types.h>

namespace cairn {

/// Kills a process group when this process dies, for whatever reason (the kernel's PR_SET_PDEATHSIG reaches only the
/// group's leader). The guard is a shell that waits for the other end of a line to be closed. If no shell can be
/// started (no /bin/sh, no process left), the group is not guarded.
class GroupGuard {
public:
    GroupGuard() noexcept;
    ~GroupGuard();  ///< Leaves the group as it is.
    GroupGuard(const GroupGuard&) = delete;
    GroupGuard& operator=(const GroupGuard&) = delete;
    GroupGuard(GroupGuard&& other) noexcept;
    GroupGuard& operator=(GroupGuard&&) = delete;

    void guard(pid_t group) const noexcept;
    void dismiss() noexcept;

private:
    pid_t pid_ = 0;    ///< 0: there is none.
    Descriptor line_;  ///< Nobody else holds this end.
};

}  // namespace cairn
