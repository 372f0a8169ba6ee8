#include "pipeline/agents/group_guard.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>

namespace cairn {
namespace {

// The shell survives signals that stop this process and all others: only the line controls it.
constexpr char kScript[] =
    "trap '' HUP INT QUIT TERM; read -r group || exit 0; read -r end || kill -s KILL -- \"-$group\"";

// Runs in a process group of its own, so that the terminal's signals do not reach it either. 0: it cannot be started.
pid_t start_shell(int line) noexcept {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    if (::posix_spawn_file_actions_init(&files) != 0) return 0;
    if (::posix_spawnattr_init(&attributes) != 0) {
        ::posix_spawn_file_actions_destroy(&files);
        return 0;
    }
    sigset_t none;
    sigemptyset(&none);
    const bool is_ready = ::posix_spawn_file_actions_adddup2(&files, line, STDIN_FILENO) == 0 &&
                          ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
                          ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
                          ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1) == 0 &&
                          ::posix_spawnattr_setsigmask(&attributes, &none) == 0 &&
                          ::posix_spawnattr_setpgroup(&attributes, 0) == 0 &&
                          ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP) == 0;
    std::array<char, 16> name{"cairn-guard"};
    std::array<char, 4> option{"-c"};
    std::array<char, sizeof kScript> script{};
    std::string_view(kScript).copy(script.data(), script.size());
    std::array<char*, 4> arguments{name.data(), option.data(), script.data(), nullptr};
    std::array<char*, 1> environment{nullptr};
    pid_t pid = 0;
    const bool is_started =
        is_ready && ::posix_spawn(&pid, "/bin/sh", &files, &attributes, arguments.data(), environment.data()) == 0;
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&files);
    return is_started ? pid : 0;
}

// A guard that was killed must not end this process by SIGPIPE.
void write_line(const Descriptor& line, std::string_view text) noexcept {
    [[maybe_unused]] const ssize_t sent = ::send(line.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

}  // namespace

GroupGuard::GroupGuard() noexcept {
    std::array<int, 2> ends{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return;
    line_ = Descriptor(ends[0]);
    const Descriptor its_end(ends[1]);
    pid_ = start_shell(its_end.get());
}

GroupGuard::~GroupGuard() {
    dismiss();
}

GroupGuard::GroupGuard(GroupGuard&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), line_(std::move(other.line_)) {}

void GroupGuard::guard(pid_t group) const noexcept {
    if (pid_ == 0) return;
    const fmt::format_int number(group);
    write_line(line_, {number.data(), number.size()});
    write_line(line_, "\n");
}

void GroupGuard::dismiss() noexcept {
    if (pid_ == 0) return;
    write_line(line_, "\nend\n");  // also ends the first line, if none was written yet
    line_.close();
    const pid_t pid = std::exchange(pid_, 0);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

}  // namespace cairn
