#pragma once

// A terminal that programs write to, and what they wrote.

#include <array>
#include <string>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

namespace cairn::test {

/// Holds a few kilobytes: a program that writes more waits until they are taken.
class Terminal {
public:
    Terminal() : controller_(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)) {
        if (controller_ < 0 || ::grantpt(controller_) != 0 || ::unlockpt(controller_) != 0) return;
        std::array<char, 128> name{};
        if (::ptsname_r(controller_, name.data(), name.size()) != 0) return;
        name_ = name.data();
        terminal_ = ::open(name_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);  // keeps what is written when a program ends
    }
    ~Terminal() {
        if (terminal_ >= 0) ::close(terminal_);
        if (controller_ >= 0) ::close(controller_);
    }
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    bool is_there() const { return terminal_ >= 0; }
    /// A path, for redirections.
    const std::string& name() const { return name_; }

    /// Returns the output since the last call.
    std::string take() const {
        std::string text;
        std::array<char, 4096> piece{};
        while (true) {
            const ssize_t bytes = ::read(controller_, piece.data(), piece.size());
            if (bytes <= 0) return text;
            text.append(piece.data(), static_cast<std::size_t>(bytes));
        }
    }

private:
    int controller_;
    int terminal_ = -1;
    std::string name_;
};

}  // namespace cairn::test
