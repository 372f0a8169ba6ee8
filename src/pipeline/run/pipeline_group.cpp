// Runs steps at the same time: the part of an execution that has several threads. Each result is saved as soon as it is
// there, as a snapshot of its own that grows from the group's base. So no finished step ever runs again.

#include "pipeline/merge/group_merge.h"
#include "pipeline/run/pipeline_run.h"

#include "persistence/guarded.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace cairn {

void PipelineRun::run_group(const Stage& stage) {
    const std::vector<const Step*> steps = steps_to_run(stage);
    if (!saves_once() && steps.size() > 1) save_base();
    if (has_ended()) return;
    under_way_ = steps.size();
    run_at_once(steps, stage.at_once_max == 0 ? steps.size() : std::min(stage.at_once_max, steps.size()),
                State(state_));
    if (has_ended() || !merge_group(stage)) return;
    complete_stage(stage);
}

// Each step gets the same state.
void PipelineRun::run_at_once(const std::vector<const Step*>& steps, std::size_t threads_wanted, const State& base) {
    const MutexUnlock unlocked(mutex_);
    std::atomic<std::size_t> next = threads_wanted;
    std::vector<std::jthread> threads;
    threads.reserve(threads_wanted);
    for (std::size_t first = 0; first < threads_wanted; ++first) {
        Status started = guarded([&]() -> Status {
            threads.emplace_back([&, first] { run_in_turn(steps, first, next, base); });
            return {};
        });
        if (!started) note_in_group(*steps[first], std::unexpected(std::move(started.error())));
    }
}

// The steps that have not finished in an earlier execution, and whose condition holds.
std::vector<const Step*> PipelineRun::steps_to_run(const Stage& stage) {
    std::vector<const Step*> steps;
    for (const Step& step : stage.steps) {
        const auto exception = progress_.exceptions.find(step.name);
        if (group_results_.contains(step.name)) {
            decide(step, {.step = step.name, .outcome = StepOutcome::kCompleted, .is_saved = true});
        } else if (exception != progress_.exceptions.end()) {
            decide(step, {.step = step.name, .outcome = exception->second, .is_saved = true});
        } else if (is_wanted(step)) {
            steps.push_back(&step);
        }
    }
    return steps;
}

// Runs one step and then each `next` one, until there is none. No step begins once the run has ended: it would have to
// run again anyway if the others cannot be merged, and finished steps are saved.
void PipelineRun::run_in_turn(const std::vector<const Step*>& steps, std::size_t first, std::atomic<std::size_t>& next,
                              const State& base) {
    for (std::size_t turn = first; turn < steps.size(); turn = next++) {
        if (turn != first && must_end()) return;
        run_in_group(*steps[turn], base);
    }
}

bool PipelineRun::must_end() {
    const MutexLock lock(mutex_);
    if (stop_.stop_requested()) end_cancelled();
    return has_ended();
}

void PipelineRun::run_in_group(const Step& step, const State& base) {
    note_in_group(step, guarded([&] { return Result<StepRun>(run(step, base)); }));
}

// The last result is saved with the merged state, unless there will be none. An error in `ran`: the step did not run.
void PipelineRun::note_in_group(const Step& step, Result<StepRun> ran) {
    if (!ran) {
        ran.error().message = fmt::format("step \"{}\": {}", step.name, ran.error().message);
        ran = StepRun{.state = std::unexpected(std::move(ran.error())), .attempt = attempts_before(step)};
    }
    const MutexLock lock(mutex_);
    const bool is_last = --under_way_ == 0;
    try {
        if (!note(step, *ran)) return;
        const auto result = group_results_.insert_or_assign(step.name, std::move(*ran->state)).first;
        if (!is_last && !saves_once()) save_group_result(step.name, result->second);
    } catch (const std::exception&) {
        end(PipelineStatus::kFailed, caught_error());
    }
}

bool PipelineRun::merge_group(const Stage& stage) {
    std::vector<Changed> results;
    for (const Step& step : stage.steps) {
        const auto found = group_results_.find(step.name);
        if (found != group_results_.end()) results.push_back({.step = step.name, .state = found->second});
    }
    Result<State> merged = merge_results(state_, results, stage, engine_.find_merger(stage.merger),
                                         options_.config.state_limits(), stop_.get_token());
    if (!merged) {
        const bool was_stopped = merged.error().code == ErrorCode::kUnavailable && stop_.stop_requested();
        end(was_stopped ? PipelineStatus::kInterrupted : PipelineStatus::kFailed, std::move(merged.error()));
        return false;
    }
    state_ = std::move(*merged);
    state_id_.clear();
    result_.is_saved = false;
    return true;
}

// Saves the state that all steps of the group start from. It is on disk before the first of their results.
bool PipelineRun::save_base() {
    if (state_id_.empty()) {
        const bool saved = save({.type = CheckpointType::kIntermediate,
                                 .state = state_,
                                 .progress = progress_,
                                 .step = progress_.step,
                                 .phase = progress_.phase,
                                 .durability = Durability::kSync});
        if (!saved) return false;
        state_id_ = checkpointer_.last().snapshot_id;
    } else if (!service_.flush(call_.run_id)) {
        state_id_.clear();  // queued, and lost
        return save_base();
    }
    progress_.group_base = state_id_;
    return true;
}

bool PipelineRun::save_group_result(const std::string& step, const State& result) {
    if (progress_.group_base.empty()) return false;
    const Runtime runtime = options_.runtime.with_defaults();
    const std::string snapshot_id = make_snapshot_id(*runtime.clock, *runtime.random);
    progress_.group_finished.insert_or_assign(step, snapshot_id);
    const bool saved = save({.type = CheckpointType::kIntermediate,
                             .state = result,
                             .progress = progress_,
                             .step = step,
                             .phase = progress_.phase,
                             .parent = progress_.group_base,
                             .snapshot_id = snapshot_id});
    if (!saved) {
        progress_.group_finished.erase(step);
    } else {
        grew_from_ = progress_.group_base;
    }
    return saved;
}

// Saves the unsaved results of a group that cannot be completed.
void PipelineRun::save_group() {
    if (progress_.group_base.empty() && !save_base()) return;
    for (const auto& [step, result] : group_results_) {
        if (!progress_.group_finished.contains(step)) save_group_result(step, result);
    }
}

}  // namespace cairn
