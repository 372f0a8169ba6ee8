#include "pipeline/run/pipeline_run.h"

#include "pipeline/rules/condition.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

using Type = PipelineEvent::Type;

constexpr std::size_t kErrorBytesMax = 1'000;

StatePersistenceRequest request_of(const AgentCall& call, const Lease& lease, Durability durability) {
    StatePersistenceRequest request{.run_id = call.run_id, .thread_id = call.thread_id, .user_id = call.user_id};
    request.durability = durability;
    request.lease = lease;
    return request;
}

Error superseded_run_error(const std::string& run_id) {
    return {.code = ErrorCode::kConflict,
            .message = fmt::format("run \"{}\" was taken over by another executor: this one has stopped", run_id)};
}

Error unsaved_result_error(const Checkpoint& checkpoint, Error error) {
    if (checkpoint.step.empty()) return error;
    error.message = fmt::format("step \"{}\": its result cannot be saved: {}", checkpoint.step, error.message);
    return error;
}

// Says whether one of the steps was not skipped.
bool has_run(const std::vector<Step>& steps, const std::map<std::string, StepResult, std::less<>>& decided) {
    return std::ranges::any_of(
        steps, [&](const Step& step) { return decided.at(step.name).outcome != StepOutcome::kSkipped; });
}

}  // namespace

PipelineRun::PipelineRun(const Parts& parts, const Pipeline& pipeline, ResumePoint from, const PipelineContext& context)
    : engine_(parts.engine),
      options_(parts.options),
      service_(parts.service),
      events_(parts.events),
      call_(parts.call),
      lease_(parts.lease),
      pipeline_(pipeline),
      is_new_(from.is_new()),
      attempts_before_(cairn::attempts_before(from, pipeline, parts.lease.lease().epoch)),
      passed_on_(context.stop, [this] { stop_.request_stop(); }),
      progress_(std::move(from.progress)),
      state_(std::move(from.state)),
      group_results_(std::move(from.group_results)),
      checkpointer_(parts.service, request_of(parts.call, parts.lease.lease(), parts.options.config.durability),
                    parts.events) {
    progress_.status = PipelineStatus::kRunning;
    progress_.epoch = lease_.lease().epoch;
    progress_.attempts = attempts_before_;
    progress_.error.clear();
    state_id_ = from.snapshot_id;
    if (!progress_.group_base.empty()) {
        state_id_ = progress_.group_base;
        grew_from_ = progress_.group_base;
    }
    saved_phase_ = progress_.phase;
    result_.status = PipelineStatus::kRunning;
    result_.is_resumed = !is_new_;
    result_.is_saved = !is_new_;
    result_.snapshot_id = from.snapshot_id;
}

PipelineResult PipelineRun::execute() {
    const MutexLock lock(mutex_);
    begin();
    while (!has_ended() && progress_.stages_completed < pipeline_.stages.size()) {
        run_stage(pipeline_.stages[progress_.stages_completed]);
    }
    finish();
    conclude();
    return std::move(result_);
}

void PipelineRun::supersede() {
    is_superseded_ = true;
    stop_.request_stop();
}

// Restores the steps of completed stages. Then saves a new run's first checkpoint: its input is on disk before anything
// runs.
void PipelineRun::begin() {
    progress_.steps_completed = 0;
    for (std::size_t i = 0; i < progress_.stages_completed; ++i) {
        for (const Step& step : pipeline_.stages[i].steps) {
            const auto exception = progress_.exceptions.find(step.name);
            decide(step,
                   {.step = step.name,
                    .outcome = exception == progress_.exceptions.end() ? StepOutcome::kCompleted : exception->second,
                    .is_saved = true});
        }
    }
    std::string message;
    if (!is_new_) {
        message = progress_.step.empty() ? "resumed from the start" : fmt::format("resumed after {}", progress_.step);
    }
    events_.tell(Type::kStarted, [&](PipelineEvent& event) { event.message = std::move(message); });
    if (!is_new_ || saves_once() || pipeline_.stages.empty()) return;
    progress_.phase = next_phase();
    if (save({.type = CheckpointType::kAuto, .state = state_, .progress = progress_, .phase = progress_.phase})) {
        saved_phase_ = progress_.phase;
        state_id_ = checkpointer_.last().snapshot_id;
    }
}

void PipelineRun::run_stage(const Stage& stage) {
    if (stop_.stop_requested()) return end_cancelled();
    stage.steps.size() == 1 ? run_single(stage) : run_group(stage);
}

void PipelineRun::run_single(const Stage& stage) {
    const Step& step = stage.steps.front();
    if (is_decided(step)) {
        follow_decision(step);
    } else if (is_wanted(step)) {
        step.needs_approval ? pause_at(step) : run_alone(step);
    }
    if (!has_ended()) complete_stage(stage);
}

void PipelineRun::run_alone(const Step& step) {
    StepRun ran = run_unlocked(step, State(state_));
    if (!note(step, ran)) return;
    state_ = std::move(*ran.state);
    state_id_.clear();
    result_.is_saved = false;
}

StepRun PipelineRun::run_unlocked(const Step& step, const State& state) {
    const MutexUnlock unlocked(mutex_);
    return run(step, state);
}

void PipelineRun::pause_at(const Step& step) {
    progress_.approval = Approval{.step = step.name};
    end(PipelineStatus::kPaused, std::nullopt);
}

bool PipelineRun::is_decided(const Step& step) const {
    return step.needs_approval && progress_.approval && progress_.approval->step == step.name &&
           progress_.approval->is_decided();
}

// The decision holds until its stage is completed, in every execution that reaches it.
void PipelineRun::follow_decision(const Step& step) {
    const bool is_approved = progress_.approval->decision == Approval::Decision::kApproved;
    StepRun decided{.state = state_};
    if (!is_approved) decided.state = std::unexpected(rejection_error(*progress_.approval));
    result_.is_rejected = !is_approved;
    note(step, decided);
}

// A skipped step has nothing to save except a phase that begins after it: the next checkpoint says that it was skipped.
// The run's final checkpoint is also the last stage's.
void PipelineRun::complete_stage(const Stage& stage) {
    ++progress_.stages_completed;
    for (const Step& step : stage.steps) progress_.ended->add(step.name);
    progress_.step = stage.steps.back().name;
    progress_.group_base.clear();
    progress_.group_finished.clear();
    progress_.attempts.clear();
    progress_.approval.reset();
    group_results_.clear();
    const bool is_last = progress_.stages_completed == pipeline_.stages.size();
    const bool did_run = has_run(stage.steps, decided_);
    progress_.phase = next_phase();
    const bool is_transition = progress_.phase != saved_phase_;
    if (is_last || saves_once() || !(did_run || is_transition)) return;
    const Checkpoint checkpoint{
        .type = is_transition ? CheckpointType::kPhaseTransition : CheckpointType::kIntermediate,
        .state = state_,
        .progress = progress_,
        .step = progress_.step,
        .phase = progress_.phase,
        .parent = grew_from_};
    if (save(checkpoint)) {
        saved_phase_ = progress_.phase;
        state_id_ = checkpointer_.last().snapshot_id;
        grew_from_.reset();
    }
}

// The phase of the next stage; the current one if the next stage sets none.
AgentPhase PipelineRun::next_phase() const {
    if (progress_.stages_completed < pipeline_.stages.size()) {
        for (const Step& step : pipeline_.stages[progress_.stages_completed].steps) {
            if (!step.phase.name().empty()) return step.phase;
        }
    }
    return progress_.phase;
}

bool PipelineRun::is_wanted(const Step& step) {
    StepOutcomes outcomes;
    for (const Condition::Step& earlier : step.when.steps) {
        const auto found = decided_.find(earlier.name);
        if (found != decided_.end()) outcomes.emplace(earlier.name, found->second.outcome);
    }
    if (holds(step.when, state_, outcomes)) return true;
    progress_.exceptions.insert_or_assign(step.name, StepOutcome::kSkipped);
    decide(step, {.step = step.name, .outcome = StepOutcome::kSkipped});
    events_.tell(Type::kStepSkipped, [&](PipelineEvent& event) { event.step = step.name; });
    return false;
}

StepRun PipelineRun::run(const Step& step, const State& state) {
    const auto tell = [&](Type type, int attempt, const auto& fill) {
        events_.tell(type, [&](PipelineEvent& event) {
            event.step = step.name;
            event.attempt = attempt;
            fill(event);
        });
    };
    const StepListener listener{
        .started = [&](int attempt) { tell(Type::kStepStarted, attempt, [](PipelineEvent&) {}); },
        .progress =
            [&](int attempt, std::string_view message) {
                tell(Type::kStepProgress, attempt, [&](PipelineEvent& event) { event.message = message; });
            },
        .will_retry =
            [&](int attempt, const Error& error) {
                tell(Type::kStepFailed, attempt, [&](PipelineEvent& event) {
                    event.will_retry = true;
                    event.error = error;
                });
            }};
    return run_step(*engine_.find_agent(step.agent), step, state, call_, attempts_before(step), stop_.get_token(),
                    listener);
}

int PipelineRun::attempts_before(const Step& step) const {
    const auto found = attempts_before_.find(step.name);
    return found == attempts_before_.end() ? 0 : found->second;
}

bool PipelineRun::note(const Step& step, const StepRun& run) {
    StepResult result{.step = step.name, .attempt = run.attempt, .duration = run.duration};
    if (!run.state) {
        result.outcome = StepOutcome::kFailed;
        result.error = run.state.error();
        if (run.was_stopped || !step.may_fail) {
            end_by(step, run);
        } else {
            progress_.exceptions.insert_or_assign(step.name, StepOutcome::kFailed);
        }
    }
    if (!run.was_stopped) decide(step, result);
    std::string message;
    if (run.state && step.needs_approval) message = fmt::format("approved by {}", progress_.approval->by);
    events_.tell(run.state ? Type::kStepCompleted : Type::kStepFailed, [&](PipelineEvent& event) {
        event.step = step.name;
        event.attempt = run.attempt;
        event.duration = run.duration;
        event.error = result.error;
        event.message = std::move(message);
    });
    return run.state.has_value();
}

void PipelineRun::decide(const Step& step, StepResult result) {
    const bool is_finished = result.outcome != StepOutcome::kFailed || step.may_fail;
    if (result.outcome == StepOutcome::kCompleted) progress_.exceptions.erase(step.name);
    if (decided_.insert_or_assign(step.name, std::move(result)).second && is_finished) ++progress_.steps_completed;
    events_.set_steps_completed(progress_.steps_completed);
}

void PipelineRun::end_by(const Step& step, const StepRun& run) {
    progress_.attempts.insert_or_assign(step.name, run.attempt);
    if (run.was_stopped && is_superseded_) return end(PipelineStatus::kInterrupted, superseded_run_error(call_.run_id));
    end(run.was_stopped ? PipelineStatus::kInterrupted : PipelineStatus::kFailed, run.state.error());
}

void PipelineRun::end_cancelled() {
    if (is_superseded_) return end(PipelineStatus::kInterrupted, superseded_run_error(call_.run_id));
    end(PipelineStatus::kInterrupted,
        Error{.code = ErrorCode::kUnavailable,
              .message = fmt::format("run \"{}\" was cancelled: execute it again to go on", call_.run_id)});
}

// The first reason counts. But a step's failure counts more than the stopping of others, and a pause counts less than
// anything.
void PipelineRun::end(PipelineStatus status, std::optional<Error> error) {
    const bool counts_more = (result_.status == PipelineStatus::kInterrupted && status == PipelineStatus::kFailed) ||
                             result_.status == PipelineStatus::kPaused;
    if (has_ended() && !counts_more) return;
    result_.status = status;
    result_.error = std::move(error);
}

bool PipelineRun::save(const Checkpoint& checkpoint) {
    const Status saved = checkpointer_.save(checkpoint);
    if (saved) {
        const bool is_on_disk = checkpointer_.last().durability == Durability::kSync;
        result_.snapshot_id = checkpointer_.last().snapshot_id;
        result_.is_saved = is_on_disk;
        for (auto& [name, step] : decided_) step.is_saved = step.is_saved || is_on_disk;
        return true;
    }
    if (saved.error().code == ErrorCode::kConflict && is_taken_over()) {
        is_superseded_ = true;
        end(PipelineStatus::kInterrupted, saved.error());
        return false;
    }
    if (options_.on_save_failure == OnSaveFailure::kGoOn) return false;
    end(PipelineStatus::kInterrupted, unsaved_result_error(checkpoint, saved.error()));
    return false;
}

bool PipelineRun::is_taken_over() const {
    const Result<bool> held = lease_.is_held(std::chrono::steady_clock::now() + options_.config.timeout);
    return held && !*held;
}

// Saves the last checkpoint. It is on disk on return, whatever the durability of the others, and includes all that they
// had.
void PipelineRun::finish() {
    if (is_superseded_) return end(PipelineStatus::kInterrupted, superseded_run_error(call_.run_id));
    const bool is_completed = !has_ended();
    if (!is_completed && !group_results_.empty()) save_group();
    progress_.status = is_completed ? PipelineStatus::kCompleted : result_.status;
    if (is_completed) {
        progress_.group_base.clear();
        progress_.group_finished.clear();
    } else {
        progress_.error = result_.error.value_or(Error{}).message.substr(0, kErrorBytesMax);
    }
    const bool is_saved = save({.type = is_completed ? CheckpointType::kPipelineComplete : CheckpointType::kRecovery,
                                .state = state_,
                                .progress = progress_,
                                .step = progress_.step,
                                .phase = progress_.phase,
                                .parent = grew_from_,
                                .durability = Durability::kSync});
    const bool is_paused = result_.status == PipelineStatus::kPaused;
    if (is_paused && !is_saved) end(PipelineStatus::kInterrupted, checkpointer_.error());  // nobody could approve it
}

void PipelineRun::conclude() {
    if (!has_ended()) result_.status = PipelineStatus::kCompleted;
    if (result_.status == PipelineStatus::kPaused) result_.waiting_for = progress_.approval->step;
    result_.state = state_;
    result_.save_error = checkpointer_.error();
    result_.saves = checkpointer_.saves();
    result_.skips = checkpointer_.skips();
    for (const Stage& stage : pipeline_.stages) {
        for (const Step& step : stage.steps) {
            const auto found = decided_.find(step.name);
            if (found != decided_.end()) result_.steps.push_back(std::move(found->second));
        }
    }
    events_.tell(Type::kCompleted, [&, status = result_.status, error = result_.error](PipelineEvent& event) {
        event.status = to_string(status);
        event.duration =
            std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started_);
        event.error = error;
    });
}

}  // namespace cairn
