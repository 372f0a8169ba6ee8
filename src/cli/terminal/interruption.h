#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace cairn::cli {

/// While one lives, Ctrl-C (SIGINT), SIGTERM and SIGHUP (the terminal was closed) only set a flag, so that what was
/// made for the time being can be removed. The program must then stop soon and call `end_program`.
class Interruption {
public:
    Interruption();
    ~Interruption();
    Interruption(const Interruption&) = delete;
    Interruption& operator=(const Interruption&) = delete;

    static bool requested() noexcept;

    /// Ends the program by the signal that came, as the shell expects: exit code 128 + signal. Returns if none did.
    static void end_program();

private:
    struct sigaction interrupt_before_{};
    struct sigaction terminate_before_{};
    struct sigaction hang_up_before_{};
};

/// For the beginning of the program: makes signals mean what this program relies on, whatever the parent process set
/// and even as process 1 of a container, for which the kernel knows no default actions.
void prepare_signals();

/// While one lives, the first such signal calls `stop` (from a thread of its own), so that what is under way can be
/// ended well; a second one but SIGHUP ends the program at once with exit code 128 + signal.
class StopAtInterruption {
public:
    explicit StopAtInterruption(std::function<void()> stop);
    ~StopAtInterruption();
    StopAtInterruption(const StopAtInterruption&) = delete;
    StopAtInterruption& operator=(const StopAtInterruption&) = delete;

private:
    Interruption interruption_;
    int waited_ = -1;  ///< The end of a pipe that `waiting_` reads,
    int wake_ = -1;    ///< and the one that wakes it.
    std::thread waiting_;
};

}  // namespace cairn::cli
