#include "cli/interruption.h"

#include <atomic>

namespace cairn::cli {
namespace {

std::atomic<int> requested_signal = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes it");

void note(int signal) {
    requested_signal = signal;
}

}  // namespace

Interruption::Interruption() {
    struct sigaction action{};
    action.sa_handler = note;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, &interrupt_before_);
    sigaction(SIGTERM, &action, &terminate_before_);
}

Interruption::~Interruption() {
    sigaction(SIGINT, &interrupt_before_, nullptr);
    sigaction(SIGTERM, &terminate_before_, nullptr);
}

bool Interruption::requested() noexcept {
    return requested_signal != 0;
}

void Interruption::end_program() {
    if (!requested()) return;
    std::signal(requested_signal, SIG_DFL);
    std::raise(requested_signal);
}

}  // namespace cairn::cli
