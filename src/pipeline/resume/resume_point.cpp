#include "pipeline/resume/resume_point.h"

#include "state/opaque_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace cairn {
namespace {

Status check_owner(const Head& head, const std::string& run_id, const PipelineContext& context) {
    if (head.thread_id == context.thread_id && head.user_id == context.user_id) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\" belongs to another thread or user than \"{}\" and \"{}\": name its own, or "
                            "another run",
                            run_id, context.thread_id, context.user_id));
}

std::unexpected<Error> foreign_head_error(const std::string& run_id, const std::string& snapshot_id) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("run \"{}\" cannot be gone on with: its head {} was not saved by a pipeline; roll it back "
                            "to a checkpoint of one, or name another run",
                            run_id, snapshot_id));
}

std::unexpected<Error> changed_pipeline_error(const Pipeline& pipeline, const std::string& run_id,
                                              const RunProgress& progress) {
    return fail(
        ErrorCode::kConflict,
        fmt::format(
            "pipeline \"{}\" has changed since run \"{}\" was saved (fingerprint {} instead of {}): to go on {} "
            "all the same, accept the changes (accept_changes, --accept-changes); or start another run",
            pipeline.name, run_id, pipeline.fingerprint(), progress.fingerprint,
            progress.step.empty() ? "from the start" : fmt::format("after step \"{}\"", progress.step)));
}

bool has_step(const Stage& stage, std::string_view name) {
    return std::ranges::find(stage.steps, name, &Step::name) != stage.steps.end();
}

// The number of completed stages in a changed pipeline: up to the stage with the last completed step.
Result<std::size_t> stages_completed(const Pipeline& pipeline, const std::string& step) {
    if (step.empty()) return 0;
    for (std::size_t i = 0; i < pipeline.stages.size(); ++i) {
        if (has_step(pipeline.stages[i], step)) return i + 1;
    }
    return fail(
        ErrorCode::kConflict,
        fmt::format("pipeline \"{}\" has no step \"{}\" any more, the last one that was completed: it cannot be "
                    "told where to go on; start another run",
                    pipeline.name, step));
}

StepsDigest steps_of(const Pipeline& pipeline, std::size_t stages) {
    StepsDigest digest;
    for (std::size_t i = 0; i < stages; ++i) {
        for (const Step& step : pipeline.stages[i].steps) digest.add(step.name);
    }
    return digest;
}

// Finds the single step that explains why the first `stages` of the changed pipeline differ from what the run has
// completed.
std::optional<std::string> odd_step(const Pipeline& pipeline, std::size_t stages, const StepsDigest& ended) {
    const StepsDigest claimed = steps_of(pipeline, stages);
    for (std::size_t i = 0; i < pipeline.stages.size(); ++i) {
        for (const Step& step : pipeline.stages[i].steps) {
            StepsDigest without = claimed;
            i < stages ? without.remove(step.name) : without.add(step.name);
            if (without != ended) continue;
            return i < stages ? fmt::format("step \"{}\": it has not been completed, but stands before", step.name)
                              : fmt::format("step \"{}\": it has been completed, but stands behind", step.name);
        }
    }
    return std::nullopt;
}

// Checks that the steps that a changed pipeline counts as completed are those that the run has completed.
Status check_ended(const Pipeline& pipeline, std::size_t stages, const std::string& run_id,
                   const RunProgress& progress) {
    if (progress.ended == steps_of(pipeline, stages)) return {};
    const auto odd = progress.ended ? odd_step(pipeline, stages, *progress.ended) : std::nullopt;
    if (odd) {
        return fail(ErrorCode::kConflict,
                    fmt::format("{} step \"{}\", the last one that run \"{}\" has completed: put it on the other side, "
                                "or start another run",
                                *odd, progress.step, run_id));
    }
    return fail(ErrorCode::kConflict,
                fmt::format("step \"{}\": run \"{}\" has completed it, but {}: change only what comes behind it, or "
                            "start another run",
                            progress.step, run_id,
                            progress.ended ? "the steps up to it are not those that the run has completed"
                                           : "an early version did not note which steps were completed before it"));
}

// Forgets exceptions of steps that are not completed any more, because the pipeline was changed.
void forget_others(RunProgress& progress, const Pipeline& pipeline) {
    const std::size_t known = std::min(progress.stages_completed + 1, pipeline.stages.size());
    std::erase_if(progress.exceptions, [&](const auto& exception) {
        return std::none_of(pipeline.stages.begin(), pipeline.stages.begin() + static_cast<std::ptrdiff_t>(known),
                            [&](const Stage& stage) { return has_step(stage, exception.first); });
    });
}

// Metadata belongs to the caller, so anybody may have written it.
std::unexpected<Error> impossible_progress_error(const Pipeline& pipeline, const std::string& run_id,
                                                 const RunProgress& progress) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("run \"{}\" cannot be gone on with: the metadata of its head says that {} stages are "
                            "completed, and pipeline \"{}\" has {}; roll it back to an earlier checkpoint",
                            run_id, progress.stages_completed, pipeline.name, pipeline.stages.size()));
}

// Adapts the saved progress to the pipeline as it is now.
Status adapt(RunProgress& progress, const Pipeline& pipeline, const std::string& run_id, bool accept_changes) {
    const std::string fingerprint = pipeline.fingerprint();
    if (progress.fingerprint != fingerprint || progress.pipeline != pipeline.name) {
        if (!accept_changes) return changed_pipeline_error(pipeline, run_id, progress);
        const Result<std::size_t> completed = stages_completed(pipeline, progress.step);
        if (!completed) return std::unexpected(completed.error());
        if (Status same = check_ended(pipeline, *completed, run_id, progress); !same) return same;
        progress.stages_completed = *completed;
        progress.pipeline = pipeline.name;
        progress.fingerprint = fingerprint;
        forget_others(progress, pipeline);
    }
    if (progress.stages_completed > pipeline.stages.size())
        return impossible_progress_error(pipeline, run_id, progress);
    progress.ended = steps_of(pipeline, progress.stages_completed);
    progress.steps_total = pipeline.steps_total();
    return {};
}

// Loads a state that steps can work on. The head's metadata, which anybody may have written, names the other snapshots.
Result<LoadedState> load_json(StatePersistence& service, const LoadRequest& request) {
    Result<LoadedState> loaded = service.load_agent_state(request);
    if (!loaded || !loaded->state.is_opaque()) return loaded;
    return fail(
        ErrorCode::kInvalidState,
        fmt::format("run \"{}\" cannot be gone on with: snapshot {} is an opaque state of type \"{}\", and steps "
                    "work on JSON objects; roll the run back to an earlier checkpoint, or name another",
                    request.run_id, loaded->info.snapshot_id, loaded->state.type_tag()));
}

// The last checkpoint of an execution that ended has the base's state; the checkpoint of a group's step has another
// one.
Status load_base(StatePersistence& service, LoadRequest request, ResumePoint& point) {
    request.snapshot_id = point.progress.group_base;
    Result<LoadedState> base = load_json(service, request);
    if (base) {
        point.state = std::move(base->state);
    } else if (base.error().code != ErrorCode::kNotFound) {
        return std::unexpected(std::move(base.error()));
    } else if (point.progress.status == PipelineStatus::kRunning) {
        return fail(ErrorCode::kNotFound,
                    fmt::format("run \"{}\" cannot be gone on with: snapshot {}, from which the group under way has "
                                "started, was deleted; roll the run back to an earlier checkpoint, or start another",
                                request.run_id, point.progress.group_base));
    } else {
        point.progress.group_base = point.snapshot_id;
    }
    return {};
}

// Some results are left out, and their steps run again: those of steps that are not in the current stage because the
// pipeline was changed, and those that were deleted.
Status load_group(StatePersistence& service, const Pipeline& pipeline, LoadRequest request, ResumePoint& point) {
    if (Status status = load_base(service, request, point); !status) return status;
    if (point.progress.stages_completed >= pipeline.stages.size()) return {};
    const Stage& stage = pipeline.stages[point.progress.stages_completed];
    const auto saved = std::exchange(point.progress.group_finished, {});
    for (const auto& [step, snapshot_id] : saved) {
        if (!has_step(stage, step)) continue;
        request.snapshot_id = snapshot_id;
        Result<LoadedState> result = load_json(service, request);
        if (!result && result.error().code == ErrorCode::kNotFound) continue;
        if (!result) return std::unexpected(std::move(result.error()));
        point.group_results.emplace(step, std::move(result->state));
        point.progress.group_finished.emplace(step, snapshot_id);
    }
    return {};
}

std::unexpected<Error> missing_run_error(const std::string& run_id) {
    return fail(ErrorCode::kNotFound,
                fmt::format("there is no run \"{}\" to go on with: name one that is there, or begin "
                            "it (without resume_only; --resume-or-start)",
                            run_id));
}

ResumePoint start_of(const Pipeline& pipeline, const State& input) {
    return {
        .state = input,
        .progress = {
            .pipeline = pipeline.name, .fingerprint = pipeline.fingerprint(), .steps_total = pipeline.steps_total()}};
}

}  // namespace

bool ResumePoint::is_paused(const Pipeline& pipeline) const {
    if (progress.status != PipelineStatus::kPaused || progress.stages_completed >= pipeline.stages.size()) return false;
    const Step& next = pipeline.stages[progress.stages_completed].steps.front();
    return next.needs_approval && progress.approval && progress.approval->step == next.name &&
           !progress.approval->is_decided();
}

Result<ResumePoint> find_resume_point(StatePersistence& service, Store& store, const Pipeline& pipeline,
                                      const State& input, const std::string& run_id, const PipelineContext& context,
                                      Deadline deadline) {
    const Result<std::optional<Head>> head = store.head(run_id, deadline);
    if (!head) return std::unexpected(head.error());
    const std::optional<Head>& newest = *head;
    if (!newest && context.resume_only) return missing_run_error(run_id);
    if (!newest) {
        if (Status json = check_is_json(input, "the pipeline's input"); !json) return std::unexpected(json.error());
        return start_of(pipeline, input);
    }
    if (Status status = check_owner(*newest, run_id, context); !status) {
        return std::unexpected(std::move(status.error()));
    }

    const LoadRequest request{.run_id = run_id, .thread_id = context.thread_id, .user_id = context.user_id};
    Result<LoadedState> loaded = load_json(service, request);
    if (!loaded) return std::unexpected(std::move(loaded.error()));
    std::optional<RunProgress> progress = RunProgress::parse(loaded->info.metadata);
    if (!progress) return foreign_head_error(run_id, loaded->info.snapshot_id);
    ResumePoint point{.state = std::move(loaded->state),
                      .progress = std::move(*progress),
                      .snapshot_id = loaded->info.snapshot_id,
                      .version = loaded->info.version};
    if (Status status = adapt(point.progress, pipeline, run_id, context.accept_changes); !status) {
        return std::unexpected(std::move(status.error()));
    }
    if (!point.progress.group_base.empty()) {
        if (Status status = load_group(service, pipeline, request, point); !status) {
            return std::unexpected(std::move(status.error()));
        }
    }
    return point;
}

// Every execution since the checkpoint has tried the steps of this stage at least once. So has the execution that saved
// it, unless it was that execution's last one: then its attempts are counted already.
std::map<std::string, int, std::less<>> attempts_before(const ResumePoint& point, const Pipeline& pipeline,
                                                        std::int64_t epoch) {
    const RunProgress& progress = point.progress;
    if (point.is_new() || progress.stages_completed >= pipeline.stages.size()) return {};
    const std::int64_t since = epoch - progress.epoch - (progress.status == PipelineStatus::kRunning ? 0 : 1);
    constexpr std::int64_t kAttemptsMax = 1'000'000'000;
    std::map<std::string, int, std::less<>> attempts;
    for (const Step& step : pipeline.stages[progress.stages_completed].steps) {
        const auto counted = progress.attempts.find(step.name);
        const int known = counted == progress.attempts.end() ? 0 : counted->second;
        const std::int64_t made = known + std::clamp<std::int64_t>(since, 0, kAttemptsMax);
        if (made > 0) attempts.emplace(step.name, static_cast<int>(std::min(made, kAttemptsMax)));
    }
    return attempts;
}

}  // namespace cairn
