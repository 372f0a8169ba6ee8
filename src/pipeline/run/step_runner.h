#pragma once

// One step: its agent, with its attempts, its pauses and its time.

#include <cairn/pipeline.h>

#include <chrono>
#include <functional>
#include <stop_token>

namespace cairn {

/// How the attempts at a step ended.
struct StepRun {
    Result<State> state;
    int attempt = 0;           ///< The last one's number.
    bool was_stopped = false;  ///< The run was cancelled meanwhile, and the step did not finish.
    std::chrono::microseconds duration{0};
};

/// Told by the thread that runs the step.
struct StepListener {
    std::function<void(int attempt)> started;
    std::function<void(int attempt, std::string_view message)> progress;
    /// Of an attempt that is followed by another one.
    std::function<void(int attempt, const Error& error)> will_retry;
};

/// Tries `step` until it succeeds, its attempts are used up, or `stop` is requested. `call` holds what all attempts are
/// told; `attempts_before` is the number of those that earlier executions made.
[[nodiscard]] StepRun run_step(const Agent& agent, const Step& step, const State& state, AgentCall call,
                               int attempts_before, const std::stop_token& stop, const StepListener& listener);

}  // namespace cairn
