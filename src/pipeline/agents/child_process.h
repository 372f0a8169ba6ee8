#pragma once

// Starts a program, and makes sure of its end.

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

/// What to start.
struct Program {
    std::vector<std::string> command = {};      ///< Looked up in the environment's PATH unless it has a slash.
    std::vector<std::string> environment = {};  ///< All of it: "NAME=value".
    std::filesystem::path working_folder = {};  ///< Empty: this process's.
};

/// A program that was started in a process group of its own, with default signals and no descriptors but the standard
/// ones. When this process dies, it is killed by the kernel (PR_SET_PDEATHSIG) and its group by a `GroupGuard`.
/// Destruction kills what is left of its group.
/// Threads: to be kept by the thread that started it for as long as the program runs, since the kernel takes that
///   thread's end for the process's.
class ChildProcess {
public:
    /// Its standard input is a file that holds `standard_input`: so nobody has to feed it, and a program that reads
    /// nothing disturbs nobody.
    /// Errors: kNotFound (no such program or folder), kInvalidArgument (it cannot be executed, or a NUL byte in what it
    ///   is given), kLimitExceeded (arguments or environment too long for the kernel), kUnavailable (no process,
    ///   descriptor or memory to be had).
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
    /// Waits for its end. What waitpid(2) says; nothing if another part of this process has asked before.
    std::optional<int> reap() noexcept;

private:
    ChildProcess() = default;

    pid_t pid_ = 0;  ///< And its group's; 0: reaped.
    Descriptor output_;
    Descriptor errors_;
    Descriptor end_;
    GroupGuard guard_;
};

}  // namespace cairn
