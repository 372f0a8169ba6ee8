#pragma once

// Runs one step: its agent, with its attempts, its pauses and its timeout.

#include <cairn/pipeline.h>

#include <chrono>
#include <functional>
#include <stop_token>

namespace cairn {

/// The end of the attempts at a step.
struct StepRun {
    Result<State> state;
    int attempt = 0;           ///< Number of the last attempt.
    bool was_stopped = false;  ///< The run was cancelled meanwhile, and the step did not finish.
    std::chrono::microseconds duration{0};
};

/// Called by the thread that runs the step.
struct StepListener {
    std::function<void(int attempt)> started;
    std::function<void(int attempt, std::string_view message)> progress;
    /// Called for an attempt that is followed by another one.
    std::function<void(int attempt, const Error& error)> will_retry;
};

/// Tries `step` until it succeeds, its attempts are used up, or `stop` is requested. `call` holds the input that all
/// attempts share. `attempts_before` is the number of attempts that earlier executions made.
[[nodiscard]] StepRun run_step(const Agent& agent, const Step& step, const State& state, AgentCall call,
                               int attempts_before, const std::stop_token& stop, const StepListener& listener);

}  // namespace cairn
