// Goal: a process has one shared object. A forked child has its own, and does not wait for a lock of its parent's.
// Method: a lock is held while the process forks.

#include "base/per_process.h"

#include "support/child_process.h"

#include <gtest/gtest.h>

#include <mutex>

namespace cairn::test {
namespace {

struct Shared {
    std::mutex mutex;
    int number = 0;
};

TEST(PerProcess, AForkedChildHasAnotherOneWhoseLockNobodyHolds) {
    Shared& shared = of_this_process<Shared>();
    shared.number = 7;
    const std::lock_guard lock(shared.mutex);
    ChildProcess child([&](const Channel&) {
        Shared& own = of_this_process<Shared>();
        return own.number == 0 && own.mutex.try_lock() && &own == &of_this_process<Shared>() ? 0 : 1;
    });
    EXPECT_EQ(child.wait(), 0);
    EXPECT_EQ(&of_this_process<Shared>(), &shared);
    EXPECT_EQ(shared.number, 7);
}

}  // namespace
}  // namespace cairn::test
