#pragma once

#include <csignal>

namespace cairn::cli {

/// While one lives, Ctrl-C (SIGINT) and SIGTERM only set a flag, so that what was made for the time being can be
/// removed. The program must then stop soon and call `end_program`.
class Interruption {
public:
    Interruption();
    ~Interruption();
    Interruption(const Interruption&) = delete;
    Interruption& operator=(const Interruption&) = delete;

    static bool requested() noexcept;

    /// Ends the program by the signal that came, as the shell expects; returns if none did.
    static void end_program();

private:
    struct sigaction interrupt_before_{};
    struct sigaction terminate_before_{};
};

}  // namespace cairn::cli
