#pragma once

// One run of a program from its start to its end: its output is read, its errors are passed on, and it is stopped when
// that is asked for or when it writes too much.

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
    std::chrono::milliseconds grace{2'000};  ///< From SIGTERM to SIGKILL.
};

/// How a program ended.
struct ProgramEnd {
    enum class Cause : std::uint8_t { kItself, kStopped, kTooMuchOutput };
    Cause cause = Cause::kItself;
    std::optional<int> wait_status = {};  ///< waitpid(2)'s; nothing: another part of this process took it.
    std::string output = {};              ///< Only if it ended by itself.
};

/// Told of each block that comes on standard error.
using ErrorOutput = std::function<void(std::string_view block)>;

/// Blocks until the program has ended; what it leaves behind in its process group is killed then. If `stop` is asked
/// for, the group gets SIGTERM at once and SIGKILL `grace` later.
/// Errors: as `ChildProcess::start`.
[[nodiscard]] Result<ProgramEnd> run_program(const Program& program, std::string_view standard_input,
                                             const ProgramLimits& limits, const std::stop_token& stop,
                                             const ErrorOutput& on_errors);

}  // namespace cairn
