#include "pipeline/agents/program_run.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <system_error>
#include <utility>
#include <vector>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::hours kGraceMax{24};      // so that computing with it is safe
constexpr std::size_t kBlockBytes = 64U << 10U;  // the capacity of a pipe

/// A descriptor that becomes readable when `stop` is requested.
class StopSignal {
public:
    explicit StopSignal(const std::stop_token& stop)
        : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), callback_(stop, Raise{event_.get()}) {}

    const Descriptor& event() const { return event_; }

private:
    struct Raise {
        int event;
        void operator()() const noexcept {
            constexpr std::uint64_t kOne = 1;
            [[maybe_unused]] const ssize_t written = ::write(event, &kOne, sizeof kOne);
        }
    };

    Descriptor event_;
    std::stop_callback<Raise> callback_;
};

class ProgramRun {
public:
    ProgramRun(ChildProcess process, const ProgramLimits& limits, const StopSignal& stop, const ErrorOutput& on_errors)
        : process_(std::move(process)),
          output_bytes_max_(limits.output_bytes_max),
          grace_(std::clamp<std::chrono::milliseconds>(limits.grace, std::chrono::milliseconds(0), kGraceMax)),
          stop_(stop),
          on_errors_(on_errors) {}

    ProgramEnd finish() {
        while (!has_ended_) serve();
        process_.signal_group(SIGKILL);  // its children: one of them may hold the pipes open
        read_rest(process_.output(), &ProgramRun::read_output);
        read_rest(process_.errors(), &ProgramRun::read_errors);
        end_.wait_status = process_.reap();
        if (end_.cause != ProgramEnd::Cause::kItself) end_.output.clear();
        return std::move(end_);
    }

private:
    void serve() {
        const int stop = stopped_at_ ? -1 : stop_.event().get();
        std::array watched{pollfd{process_.output().get(), POLLIN, 0}, pollfd{process_.errors().get(), POLLIN, 0},
                           pollfd{process_.end().get(), POLLIN, 0}, pollfd{stop, POLLIN, 0}};
        if (::poll(watched.data(), watched.size(), patience_ms()) < 0) return;  // interrupted by a signal
        if (watched[0].revents != 0) read_output();
        if (watched[1].revents != 0) read_errors();
        has_ended_ = watched[2].revents != 0;
        if (has_ended_) return;
        if (watched[3].revents != 0) begin_to_stop();
        if (stopped_at_ && !is_killed_ && SteadyClock::now() - *stopped_at_ >= grace_) kill();
    }

    // Timeout for poll(2), rounded up so that it does not wake too early.
    int patience_ms() const {
        if (!stopped_at_ || is_killed_) return -1;
        const auto left = grace_ - (SteadyClock::now() - *stopped_at_);
        const auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
        return static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, INT_MAX));
    }

    void begin_to_stop() {
        stopped_at_ = SteadyClock::now();
        if (end_.cause == ProgramEnd::Cause::kItself) end_.cause = ProgramEnd::Cause::kStopped;
        process_.signal_group(SIGTERM);
    }

    void kill() {
        is_killed_ = true;
        process_.signal_group(SIGKILL);
    }

    std::size_t read_output() {
        const std::string_view block = read_block(process_.output());
        if (end_.cause != ProgramEnd::Cause::kItself) return block.size();  // the output is not wanted any more
        if (block.size() <= output_bytes_max_ - end_.output.size()) {
            end_.output.append(block);
        } else {
            end_.cause = ProgramEnd::Cause::kTooMuchOutput;
            end_.output = {};
            kill();
        }
        return block.size();
    }

    std::size_t read_errors() {
        const std::string_view block = read_block(process_.errors());
        on_errors_(block);
        return block.size();
    }

    // Reads what was in the pipe when the program ended. The pipe may never end: a process that has left the group may
    // still hold it.
    void read_rest(const Descriptor& pipe, std::size_t (ProgramRun::*read)()) {
        std::size_t rest = bytes_in(pipe);
        while (rest > 0) {
            const std::size_t count = (this->*read)();
            if (count == 0) return;
            rest -= std::min(rest, count);
        }
    }

    static std::size_t bytes_in(const Descriptor& pipe) {
        int count = 0;
        if (!pipe || ::ioctl(pipe.get(), FIONREAD, &count) != 0) return 0;
        return static_cast<std::size_t>(count);
    }

    // Reads one block, and closes the pipe at its end.
    std::string_view read_block(Descriptor& from) {
        const ssize_t count = ::read(from.get(), block_.data(), block_.size());
        const bool may_come = count < 0 && (errno == EAGAIN || errno == EINTR);
        if (count <= 0 && !may_come) from.close();
        return {block_.data(), count < 0 ? 0 : static_cast<std::size_t>(count)};
    }

    ChildProcess process_;
    std::uint64_t output_bytes_max_;
    std::chrono::milliseconds grace_;
    const StopSignal& stop_;
    const ErrorOutput& on_errors_;

    ProgramEnd end_;
    bool has_ended_ = false;
    bool is_killed_ = false;
    std::optional<SteadyClock::time_point> stopped_at_;
    std::vector<char> block_ = std::vector<char>(kBlockBytes);
};

}  // namespace

Result<ProgramEnd> run_program(const Program& program, std::string_view standard_input, const ProgramLimits& limits,
                               const std::stop_token& stop, const ErrorOutput& on_errors) {
    if (stop.stop_requested()) return ProgramEnd{.cause = ProgramEnd::Cause::kStopped};
    const StopSignal stop_signal(stop);
    if (!stop_signal.event()) {
        const std::string reason = std::generic_category().message(errno);
        return fail(ErrorCode::kUnavailable, "no descriptor to run a program with", reason);
    }
    Result<ChildProcess> process = ChildProcess::start(program, standard_input);
    if (!process) return std::unexpected(std::move(process.error()));
    return ProgramRun(*std::move(process), limits, stop_signal, on_errors).finish();
}

}  // namespace cairn
