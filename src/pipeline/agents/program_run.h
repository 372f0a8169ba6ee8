#pragma once

// One run of a program from start to end: its output is read, its errors are passed on, and it is stopped on request or
// when it writes too much.

#include "pipeline/agents/child_process.h"

#include <cairn/error.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace cairn {

struct ProgramLimits {
    std::uint64_t output_bytes_max = 64ULL << 20U;
    std::chrono::milliseconds grace{2'000};  ///< Time from SIGTERM to SIGKILL.
};

/// The end of a program.
struct ProgramEnd {
    enum class Cause : std::uint8_t { kItself, kStopped, kTooMuchOutput };
    Cause cause = Cause::kItself;
    std::optional<int> wait_status = {};  ///< Status of waitpid(2); nothing: another part of this process took it.
    std::string output = {};              ///< Only if it ended by itself.
};

/// Receives each block that arrives on standard error.
using ErrorOutput = std::function<void(std::string_view block)>;

/// Blocks until the program has ended, then kills what it leaves in its process group. If `stop` is requested, the
/// group gets SIGTERM at once and SIGKILL `grace` later.
/// Errors: as `ChildProcess::start`.
[[nodiscard]] Result<ProgramEnd> run_program(const Program& program, std::string_view standard_input,
                                             const ProgramLimits& limits, const std::stop_token& stop,
                                             const ErrorOutput& on_errors);

}  // namespace cairn
