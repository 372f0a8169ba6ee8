#include "pipeline/run/step_runner.h"

#include "base/mutex.h"
#include "base/timer.h"
#include "persistence/guarded.h"
#include "state/opaque_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

namespace cairn {
namespace {

using SteadyClock = std::chrono::steady_clock;

/// Returns true if `stop` was requested meanwhile.
bool pause_for(std::chrono::milliseconds duration, const std::stop_token& stop) {
    Mutex mutex;
    const MutexLock lock(mutex);
    return wait_for_stop(mutex, stop, SteadyClock::now() + duration);
}

/// Asks an attempt to stop, when the run is stopped or the step times out.
class AttemptStop {
public:
    AttemptStop(const std::stop_token& run, std::chrono::milliseconds timeout)
        : passed_on_(run, [this] { source_.request_stop(); }) {
        if (timeout.count() == 0) return;
        timer_ = Timer(SteadyClock::now() + timeout, [this] {
            is_late_ = true;
            source_.request_stop();
        });
    }

    std::stop_token token() const { return source_.get_token(); }
    bool is_late() const { return is_late_; }

private:
    std::stop_source source_;
    std::atomic<bool> is_late_ = false;
    std::stop_callback<std::function<void()>> passed_on_;
    Timer timer_;  // last: it uses the members above
};

// An exception of an agent becomes the agent's own error, in its own words.
Result<State> call_agent(const Agent& agent, const State& state, const AgentCall& call) {
    try {
        return require_json(agent(state, call), "what the agent returned");
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::kInternal, "out of memory");
    } catch (const std::exception& exception) {
        return fail(ErrorCode::kInternal, fmt::format("the agent threw: {}", exception.what()));
    } catch (...) {
        return fail(ErrorCode::kInternal, "the agent threw something that is no std::exception");
    }
}

Error in_step(const Step& step, Error error) {
    error.message = fmt::format("step \"{}\": {}", step.name, error.message);
    return error;
}

Result<State> try_once(const Agent& agent, const Step& step, const State& state, AgentCall& call,
                       const std::stop_token& stop) {
    const AttemptStop attempt(stop, step.timeout);
    call.stop = attempt.token();
    Result<State> result = call_agent(agent, state, call);
    if (result || !attempt.is_late()) return result;
    return std::unexpected(advise({.code = ErrorCode::kUnavailable,
                                   .message = fmt::format("its time of {} ms was up", step.timeout.count()),
                                   .cause = std::make_shared<const Error>(std::move(result.error()))},
                                  "Give the step a longer timeout, or find out what keeps it; the run goes on after "
                                  "the last completed step."));
}

std::chrono::milliseconds pause_before(const RetryPolicy& retry, int attempts_made) {
    std::chrono::milliseconds pause = retry.backoff;
    for (int i = 1; i < attempts_made && pause < retry.backoff_max; ++i) pause *= 2;
    return std::min(pause, retry.backoff_max);
}

}  // namespace

StepRun run_step(const Agent& agent, const Step& step, const State& state, AgentCall call, int attempts_before,
                 const std::stop_token& stop, const StepListener& listener) {
    const auto started = SteadyClock::now();
    const auto ended = [&](Result<State> result, int attempt) {
        const bool was_stopped = !result && stop.stop_requested();
        return StepRun{.state = std::move(result),
                       .attempt = attempt,
                       .was_stopped = was_stopped,
                       .duration = std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - started)};
    };
    call.step = step.name;
    call.with = step.with;
    for (int made = 1;; ++made) {
        call.attempt = attempts_before + made;
        call.progress = [&](std::string_view message) { listener.progress(call.attempt, message); };
        listener.started(call.attempt);
        Result<State> result = guarded([&] { return try_once(agent, step, state, call, stop); });
        if (!result) result = std::unexpected(in_step(step, std::move(result.error())));
        if (result || stop.stop_requested() || made >= step.retry.attempts_max) {
            return ended(std::move(result), call.attempt);
        }
        listener.will_retry(call.attempt, result.error());
        if (pause_for(pause_before(step.retry, made), stop)) return ended(std::move(result), call.attempt);
    }
}

}  // namespace cairn
