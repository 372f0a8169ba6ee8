#pragma once

// One execution of a pipeline: stage after stage, with a checkpoint after each.

#include "base/mutex.h"
#include "base/thread_annotations.h"
#include "pipeline/resume/resume_point.h"
#include "pipeline/run/checkpointer.h"
#include "pipeline/run/step_runner.h"

#include <cairn/pipeline.h>
#include <cairn/run_events.h>
#include <cairn/run_lease.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace cairn {

class PipelineRun {
public:
    struct Parts {
        const ExecutionEngine& engine;
        const ExecutorOptions& options;
        StatePersistence& service;
        RunEvents& events;
        AgentCall call;  ///< The input that every agent gets.
        const RunLease& lease;
    };

    PipelineRun(const Parts& parts, const Pipeline& pipeline, ResumePoint from, const PipelineContext& context);
    PipelineRun(const PipelineRun&) = delete;
    PipelineRun& operator=(const PipelineRun&) = delete;
    ~PipelineRun() = default;

    /// Call it once.
    PipelineResult execute();
    /// Call it when another executor has taken the run: ends the run and saves nothing more. From any thread.
    void supersede();

private:
    void begin() CAIRN_REQUIRES(mutex_);
    void finish() CAIRN_REQUIRES(mutex_);
    void conclude() CAIRN_REQUIRES(mutex_);

    void run_stage(const Stage& stage) CAIRN_REQUIRES(mutex_);
    void run_single(const Stage& stage) CAIRN_REQUIRES(mutex_);
    void run_alone(const Step& step) CAIRN_REQUIRES(mutex_);
    StepRun run_unlocked(const Step& step, const State& state) CAIRN_REQUIRES(mutex_);
    void pause_at(const Step& step) CAIRN_REQUIRES(mutex_);
    bool is_decided(const Step& step) const CAIRN_REQUIRES(mutex_);
    void follow_decision(const Step& step) CAIRN_REQUIRES(mutex_);
    void complete_stage(const Stage& stage) CAIRN_REQUIRES(mutex_);

    void run_group(const Stage& stage) CAIRN_REQUIRES(mutex_);
    std::vector<const Step*> steps_to_run(const Stage& stage) CAIRN_REQUIRES(mutex_);
    void run_at_once(const std::vector<const Step*>& steps, std::size_t threads_wanted, const State& base)
        CAIRN_REQUIRES(mutex_);
    void run_in_turn(const std::vector<const Step*>& steps, std::size_t first, std::atomic<std::size_t>& next,
                     const State& base) CAIRN_EXCLUDES(mutex_);
    bool must_end() CAIRN_EXCLUDES(mutex_);
    void run_in_group(const Step& step, const State& base) CAIRN_EXCLUDES(mutex_);
    void note_in_group(const Step& step, Result<StepRun> ran) CAIRN_EXCLUDES(mutex_);
    bool merge_group(const Stage& stage) CAIRN_REQUIRES(mutex_);
    bool save_base() CAIRN_REQUIRES(mutex_);
    bool save_group_result(const std::string& step, const State& result) CAIRN_REQUIRES(mutex_);
    void save_group() CAIRN_REQUIRES(mutex_);

    bool is_wanted(const Step& step) CAIRN_REQUIRES(mutex_);
    StepRun run(const Step& step, const State& state) CAIRN_EXCLUDES(mutex_);
    int attempts_before(const Step& step) const;
    /// Records the end of a step. Returns true if its result counts.
    bool note(const Step& step, const StepRun& run) CAIRN_REQUIRES(mutex_);
    void decide(const Step& step, StepResult result) CAIRN_REQUIRES(mutex_);
    void end_by(const Step& step, const StepRun& run) CAIRN_REQUIRES(mutex_);
    void end_cancelled() CAIRN_REQUIRES(mutex_);
    void end(PipelineStatus status, std::optional<Error> error) CAIRN_REQUIRES(mutex_);
    bool is_taken_over() const;
    bool has_ended() const CAIRN_REQUIRES(mutex_) { return result_.status != PipelineStatus::kRunning; }

    /// Returns false if the run has to end.
    bool save(const Checkpoint& checkpoint) CAIRN_REQUIRES(mutex_);
    bool saves_once() const { return options_.config.durability == Durability::kExit; }
    AgentPhase next_phase() const CAIRN_REQUIRES(mutex_);

    const ExecutionEngine& engine_;
    const ExecutorOptions& options_;
    StatePersistence& service_;
    RunEvents& events_;
    const AgentCall call_;
    const RunLease& lease_;
    const Pipeline& pipeline_;
    const bool is_new_;
    const std::map<std::string, int, std::less<>> attempts_before_;  // at steps of the stage that was current
    const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();

    std::stop_source stop_;
    std::stop_callback<std::function<void()>> passed_on_;
    std::atomic<bool> is_superseded_ = false;

    Mutex mutex_;  // held by the execution's own thread, except while agents run
    RunProgress progress_ CAIRN_GUARDED_BY(mutex_);
    State state_ CAIRN_GUARDED_BY(mutex_);                           // after the last completed stage
    std::string state_id_ CAIRN_GUARDED_BY(mutex_);                  // its snapshot; empty: not saved
    AgentPhase saved_phase_ CAIRN_GUARDED_BY(mutex_);                // of the last checkpoint
    std::optional<std::string> grew_from_ CAIRN_GUARDED_BY(mutex_);  // parent of its next checkpoint; none: the head
    std::map<std::string, State, std::less<>> group_results_ CAIRN_GUARDED_BY(mutex_);
    std::size_t under_way_ CAIRN_GUARDED_BY(mutex_) = 0;  // the steps of a group that have not ended
    std::map<std::string, StepResult, std::less<>> decided_ CAIRN_GUARDED_BY(mutex_);
    Checkpointer checkpointer_ CAIRN_GUARDED_BY(mutex_);
    PipelineResult result_ CAIRN_GUARDED_BY(mutex_);
};

}  // namespace cairn
