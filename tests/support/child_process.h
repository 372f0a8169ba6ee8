#pragma once

// A second process for tests. It is forked, so it can run a lambda, and two pipes connect it to the test. Fork it
// before the test opens a store: a store does not survive a fork.

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <utility>

#include <sys/wait.h>
#include <unistd.h>

namespace cairn::test {

/// One end of a two-way channel for numbers.
class Channel {
public:
    Channel(int in, int out) : in_(in), out_(out) {}
    ~Channel() {
        ::close(in_);
        ::close(out_);
    }
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    void say(std::int64_t number) const {
        if (::write(out_, &number, sizeof number) != sizeof number) std::_Exit(99);  // nobody listens any more
    }
    /// Waits for the next number. Returns nothing once the other side has ended.
    std::optional<std::int64_t> hear() const {
        std::int64_t number = 0;
        if (::read(in_, &number, sizeof number) != sizeof number) return std::nullopt;
        return number;
    }

private:
    int in_;
    int out_;
};

class ChildProcess {
public:
    /// Runs `body(channel)` in the child; it returns the exit code. The child ends without running the test program's
    /// destructors.
    template <class Body>
    explicit ChildProcess(Body body) {
        int down[2];
        int up[2];
        if (::pipe(down) != 0 || ::pipe(up) != 0) throw std::runtime_error("pipe failed");
        pid_ = ::fork();
        if (pid_ < 0) throw std::runtime_error("fork failed");
        if (pid_ == 0) {
            ::close(down[1]);
            ::close(up[0]);
            const Channel channel(down[0], up[1]);
            std::_Exit(body(channel));
        }
        ::close(down[0]);
        ::close(up[1]);
        channel_.emplace(up[0], down[1]);
    }
    ~ChildProcess() {
        if (pid_ > 0) kill();
    }
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;

    const Channel& channel() const { return *channel_; }
    pid_t pid() const { return pid_; }

    /// Waits for the child's end. Returns its exit code, or minus the signal that ended it.
    int wait() {
        int status = 0;
        ::waitpid(std::exchange(pid_, 0), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

    int kill() {
        ::kill(pid_, SIGKILL);
        return wait();
    }

private:
    pid_t pid_ = 0;
    std::optional<Channel> channel_;
};

}  // namespace cairn::test
