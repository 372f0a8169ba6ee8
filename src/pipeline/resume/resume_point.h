#pragma once

// The point at which a run resumes.

#include "pipeline/run/run_progress.h"

#include <cairn/persistence.h>
#include <cairn/pipeline.h>
#include <cairn/store.h>

#include <cstdint>
#include <map>
#include <string>

namespace cairn {

struct ResumePoint {
    State state;                                                   ///< State after the last completed stage.
    RunProgress progress;                                          ///< Adapted to the pipeline as it is now.
    std::map<std::string, State, std::less<>> group_results = {};  ///< States of finished steps of the current stage.
    std::string snapshot_id = {};                                  ///< The head; empty: the run is new.
    std::int64_t version = 0;                                      ///< Version of the head.

    bool is_new() const { return version == 0; }
    bool is_completed(const Pipeline& pipeline) const {
        return progress.status == PipelineStatus::kCompleted && progress.stages_completed == pipeline.stages.size();
    }
    /// Says whether the next step waits for a person who has not decided yet.
    bool is_paused(const Pipeline& pipeline) const;
};

/// Reads the run's checkpoints; a run without any starts from `input`.
/// Errors: kInvalidArgument (the run belongs to others, or its head is not a pipeline's), kConflict (the pipeline has
///   changed since), kNotFound (no checkpoint, and `resume_only`), and those of loading.
[[nodiscard]] Result<ResumePoint> find_resume_point(StatePersistence& service, Store& store, const Pipeline& pipeline,
                                                    const State& input, const std::string& run_id,
                                                    const PipelineContext& context, Deadline deadline);

/// The attempts that earlier executions have made at the steps of the current stage, seen from the lease's `epoch`.
std::map<std::string, int, std::less<>> attempts_before(const ResumePoint& point, const Pipeline& pipeline,
                                                        std::int64_t epoch);

}  // namespace cairn
