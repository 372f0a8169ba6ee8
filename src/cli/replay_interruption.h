#pragma once

#include <atomic>
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

    static bool requested() noexcept { return signal_ != 0; }

    /// Ends the program by the signal that came, as the shell expects; returns if none did.
    static void end_program();

private:
    static void note(int signal) noexcept { signal_ = signal; }

    static inline std::atomic<int> signal_ = 0;
    static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes it");

    struct sigaction interrupt_before_{};
    struct sigaction terminate_before_{};
};

}  // namespace cairn::cli
