#pragma once

// Starts a program, and makes sure that it ends.

#include "pipeline/agents/descriptor.h"
#include "pipeline/agents/group_guard.h"

#include <cairn/error.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace cairn {

/// The program to start.
struct Program {
    std::vector<std::string> command = {};      ///< Looked up in the environment's PATH unless it has a slash.
    std::vector<std::string> environment = {};  ///< Complete: "NAME=value".
    std::filesystem::path working_folder = {};  ///< Empty: this process's.
};

/// A program that was started in a process group of its own, with default signals and no descriptors but the standard
/// ones. When this process dies, the kernel kills the program (PR_SET_PDEATHSIG), and a `GroupGuard` kills its group.
/// The destructor kills what is left of the group.
/// Threads: the thread that started it must keep it for as long as the program runs, since the kernel takes that
///   thread's end for the process's.
class ChildProcess {
public:
    /// Starts the program. Its standard input is a file that holds `standard_input`, so nobody has to feed it, and a
    /// program that reads nothing blocks nobody.
    /// Errors: kNotFound (no such program or folder), kInvalidArgument (it cannot be executed, or its input has a NUL
    ///   byte), kLimitExceeded (arguments or environment too long for the kernel), kUnavailable (no process, descriptor
    ///   or memory is left).
    [[nodiscard]] static Result<ChildProcess> start(const Program& program, std::string_view standard_input);

    ~ChildProcess();
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;
    ChildProcess(ChildProcess&& other) noexcept;
    ChildProcess& operator=(ChildProcess&&) = delete;

    Descriptor& output() { return output_; }  ///< Its standard output: does not block.
    Descriptor& errors() { return errors_; }  ///< Its standard error: does not block.
    /// Readable once the program itself has ended, whatever its children do.
    const Descriptor& end() const { return end_; }

    void signal_group(int signal) const noexcept;
    /// Waits for its end. Returns the status of waitpid(2); nothing if another part of this process took it before.
    std::optional<int> reap() noexcept;

private:
    ChildProcess() = default;

    pid_t pid_ = 0;  ///< Also the id of its group; 0: reaped.
    Descriptor output_;
    Descriptor errors_;
    Descriptor end_;
    GroupGuard guard_;
};

}  // namespace cairn
