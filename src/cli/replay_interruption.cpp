#include "cli/replay_interruption.h"

namespace cairn::cli {

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

void Interruption::end_program() {
    if (!requested()) return;
    std::signal(signal_, SIG_DFL);
    std::raise(signal_);
}

}  // namespace cairn::cli
