#pragma once

// One execution of a pipeline: stage after stage, with a checkpoint after each.

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
#include <mutex>
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
    void begin();
    void finish();
    void conclude();

    void run_stage(const Stage& stage);
    void run_single(const Stage& stage);
    void run_alone(const Step& step);
    void pause_at(const Step& step);
    bool is_decided(const Step& step) const;
    void follow_decision(const Step& step);
    void complete_stage(const Stage& stage);

    void run_group(const Stage& stage);
    std::vector<const Step*> steps_to_run(const Stage& stage);
    void run_in_turn(const std::vector<const Step*>& steps, std::size_t first, std::atomic<std::size_t>& next,
                     std::size_t& under_way);
    bool must_end();
    void run_in_group(const Step& step, std::size_t& under_way);
    void note_in_group(const Step& step, Result<StepRun> ran, std::size_t& under_way);
    bool merge_group(const Stage& stage);
    bool save_base();
    bool save_group_result(const std::string& step, const State& result);
    void save_group();

    bool is_wanted(const Step& step);
    StepRun run(const Step& step);
    int attempts_before(const Step& step) const;
    /// Records the end of a step. Returns true if its result counts.
    bool note(const Step& step, const StepRun& run);
    void decide(const Step& step, StepResult result);
    void end_by(const Step& step, const StepRun& run);
    void end_cancelled();
    void end(PipelineStatus status, std::optional<Error> error);
    bool is_taken_over() const;
    bool has_ended() const { return result_.status != PipelineStatus::kRunning; }

    /// Returns false if the run has to end.
    bool save(const Checkpoint& checkpoint);
    bool saves_once() const { return options_.config.durability == Durability::kExit; }
    AgentPhase next_phase() const;

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

    std::mutex mutex_;
    // Guarded by mutex_ while the steps of a group run:
    RunProgress progress_;
    State state_;                           // after the last completed stage
    std::string state_id_;                  // its snapshot; empty: not saved
    AgentPhase saved_phase_;                // of the last checkpoint
    std::optional<std::string> grew_from_;  // parent of the state's next checkpoint, if not the head
    std::map<std::string, State, std::less<>> group_results_;
    std::map<std::string, StepResult, std::less<>> decided_;
    Checkpointer checkpointer_;
    PipelineResult result_;
};

}  // namespace cairn
