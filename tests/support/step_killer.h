#pragma once

// A process that dies at a chosen step of its writing: right before the n-th call with which the SQLite engine would
// change a file.

#include "support/child_process.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <csignal>

#include <sys/types.h>
#include <unistd.h>

namespace cairn::test {

/// The functions that the engine calls instead of the system's, in the child only.
struct StepKiller {
    static inline int steps_left = 0;

    static void step() {
        if (steps_left-- == 0) ::kill(::getpid(), SIGKILL);
    }
    static ssize_t write_at(int file, const void* bytes, size_t count, off_t offset) {
        step();
        return ::pwrite(file, bytes, count, offset);
    }
    static int truncate(int file, off_t bytes) {
        step();
        return ::ftruncate(file, bytes);
    }
    static int remove(const char* path) {
        step();
        return ::unlink(path);
    }
    static void arm(int steps) {
        steps_left = steps;
        const auto replace = [vfs = sqlite3_vfs_find(nullptr)](const char* name, auto* call) {
            vfs->xSetSystemCall(vfs, name, reinterpret_cast<sqlite3_syscall_ptr>(call));
        };
        replace("pwrite", write_at);
        replace("pwrite64", write_at);
        replace("ftruncate", truncate);
        replace("unlink", remove);
    }
};

/// Runs `body` in a child that dies after `steps` steps. Returns true if it died. Otherwise it ended before that, and
/// `body` must have returned true.
template <class Body>
bool is_killed_at(int steps, Body body) {
    ChildProcess child([&](const Channel&) {
        StepKiller::arm(steps);
        return body() ? 0 : 1;
    });
    const int ending = child.wait();
    EXPECT_TRUE(ending == 0 || ending == -SIGKILL) << "the child failed at step " << steps << ": " << ending;
    return ending == -SIGKILL;
}

}  // namespace cairn::test
