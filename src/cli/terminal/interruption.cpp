#include "cli/terminal/interruption.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

namespace cairn::cli {
namespace {

std::atomic<int> requested_signal = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes it");

// The descriptor that is told of the first signal, if anybody waits for it. The second signal then ends the program.
std::atomic<int> listener = -1;

// Exits with the code that a shell reports for a process that a signal ended.
[[noreturn]] void leave(int signal) {
    _exit(128 + signal);
}

void note(int signal) {
    const int error_number = errno;
    const bool is_first = requested_signal.exchange(signal) == 0;
    const int told = listener;
    // A closed terminal sends SIGHUP more than once.
    if (told >= 0 && !is_first && signal != SIGHUP) leave(signal);
    if (told >= 0 && is_first) [[maybe_unused]]
        const ssize_t written = write(told, "!", 1);
    errno = error_number;
}

// Waits for the first byte; "." means that no signal came.
void wait_for_signal(int wake, const std::function<void()>& stop) {
    char byte = '.';
    while (read(wake, &byte, 1) < 0 && errno == EINTR) {
    }
    if (byte == '!') stop();
}

}  // namespace

Interruption::Interruption() {
    struct sigaction action{};
    action.sa_handler = note;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, &interrupt_before_);
    sigaction(SIGTERM, &action, &terminate_before_);
    sigaction(SIGHUP, nullptr, &hang_up_before_);
    if (hang_up_before_.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // nohup(1) ignores it
}

Interruption::~Interruption() {
    sigaction(SIGINT, &interrupt_before_, nullptr);
    sigaction(SIGTERM, &terminate_before_, nullptr);
    sigaction(SIGHUP, &hang_up_before_, nullptr);
}

bool Interruption::requested() noexcept {
    return requested_signal != 0;
}

void Interruption::end_program() {
    if (!requested()) return;
    const int signal = requested_signal;
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    leave(signal);  // process 1, or a parent that blocked the signal
}

// The end of a child must be reported (an inherited, ignored SIGCHLD prevents that). `cairn log … | head` must end
// quietly. A file that may not grow any more (ulimit -f) must give an error of the write.
void prepare_signals() {
    std::signal(SIGCHLD, SIG_DFL);
    std::signal(SIGPIPE, SIG_DFL);
    std::signal(SIGXFSZ, SIG_IGN);
    if (getpid() != 1) return;
    for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGPIPE}) {
        if (std::signal(signal, leave) == SIG_IGN) std::signal(signal, SIG_IGN);  // nohup(1)
    }
}

StopAtInterruption::StopAtInterruption(std::function<void()> stop) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    waited_ = ends[0];
    wake_ = ends[1];
    listener = wake_;
    waiting_ = std::thread([wake = waited_, stop = std::move(stop)] { wait_for_signal(wake, stop); });
}

StopAtInterruption::~StopAtInterruption() {
    listener = -1;
    [[maybe_unused]] const ssize_t written = write(wake_, ".", 1);
    waiting_.join();
    close(wake_);
    close(waited_);
}

}  // namespace cairn::cli
