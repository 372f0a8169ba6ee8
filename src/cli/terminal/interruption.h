#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace cairn::cli {

/// While an object lives, Ctrl-C (SIGINT), SIGTERM and SIGHUP (the terminal was closed) only set a flag, so that
/// temporary files can be removed. The program must then stop soon and call `end_program`.
class Interruption {
public:
    Interruption();
    ~Interruption();
    Interruption(const Interruption&) = delete;
    Interruption& operator=(const Interruption&) = delete;

    static bool requested() noexcept;

    /// Ends the program by the received signal, with exit code 128 + signal as shells expect. Returns if there was
    /// none.
    static void end_program();

private:
    struct sigaction interrupt_before_{};
    struct sigaction terminate_before_{};
    struct sigaction hang_up_before_{};
};

/// Call it when the program starts. It gives signals the meaning that this program relies on, whatever the parent
/// process set. It even works as process 1 of a container, for which the kernel has no default actions.
void prepare_signals();

/// While an object lives, the first such signal calls `stop` (on a thread of its own), so that running work can end
/// well. A second one, except SIGHUP, ends the program at once with exit code 128 + signal.
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
