// Saves a person's decision about a paused run. It is a normal save, so the decision is durable and in the history.

#include "persistence/guarded.h"
#include "persistence/save/request_rules.h"
#include "pipeline/run/run_progress.h"
#include "state/opaque_text.h"

#include <cairn/pipeline.h>

#include <fmt/format.h>

#include <utility>

namespace cairn {
namespace {

constexpr int kReadsMax = 3;
constexpr std::string_view kAfterRejection =
    "Roll the run back (`cairn recover --type rollback`) to go on all the same, or start another.";

std::unexpected<Error> invalid_decision_error(const ApprovalDecision& decision, const std::string& what) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("run \"{}\" {}", decision.run_id, what));
}

// Checks that the run waits for this decision.
Status check_waiting(const std::optional<RunProgress>& progress, const ApprovalDecision& decision) {
    if (!progress) return invalid_decision_error(decision, "is no pipeline's, and waits for nobody's approval");
    const std::optional<Approval>& approval = progress->approval;
    if (approval && approval->is_decided() && approval->step == decision.step) {
        const bool is_approved = approval->decision == Approval::Decision::kApproved;
        return std::unexpected(advise(
            {.code = ErrorCode::kConflict,
             .message = fmt::format("step \"{}\" of run \"{}\" was {} by \"{}\" already, and that stands",
                                    decision.step, decision.run_id, to_string(approval->decision), approval->by)},
            is_approved ? "Execute the run again (`cairn run … --resume`): it goes on."
                        : std::string(kAfterRejection)));
    }
    if (progress->status != PipelineStatus::kPaused || !approval) {
        return invalid_decision_error(
            decision, fmt::format("does not wait for approval: it is {} ({} of {} steps done)",
                                  to_string(progress->status), progress->steps_completed, progress->steps_total));
    }
    if (approval->step == decision.step) return {};
    return invalid_decision_error(
        decision, fmt::format("waits for approval of step \"{}\", not of \"{}\"", approval->step, decision.step));
}

void decide(RunProgress& progress, const ApprovalDecision& decision) {
    progress.approval->decision = decision.is_approved ? Approval::Decision::kApproved : Approval::Decision::kRejected;
    progress.approval->by = decision.by;
    progress.status = decision.is_approved ? PipelineStatus::kInterrupted : PipelineStatus::kFailed;
    if (!decision.is_approved) progress.error = rejection_error(*progress.approval).message;
}

// The decision counts only on top of the state that was looked at.
Result<Receipt> save(StatePersistence& service, const LoadedState& paused, const RunProgress& progress,
                     const ApprovalDecision& decision) {
    Result<State> state = require_json(paused.state, "the state of the paused run");
    const bool is_changed = state && decision.change && decision.is_approved;
    if (is_changed) state = require_json(decision.change(paused.state), "the changed state");
    if (!state) return std::unexpected(std::move(state.error()));
    return service.save_agent_state({.run_id = paused.info.run_id,
                                     .thread_id = paused.info.thread_id,
                                     .user_id = paused.info.user_id,
                                     .state_data = *std::move(state),
                                     .checkpoint_type = CheckpointType::kManual,
                                     .agent_phase = paused.info.agent_phase,
                                     .metadata = progress.to_metadata(),
                                     .on_conflict = OnConflict::kFail,
                                     .expected_version = paused.info.version});
}

Result<Receipt> decide_once(StatePersistence& service, const ApprovalDecision& decision) {
    const Result<LoadedState> paused = service.load_agent_state(
        {.run_id = decision.run_id, .thread_id = decision.thread_id, .user_id = decision.user_id});
    if (!paused) return std::unexpected(paused.error());
    std::optional<RunProgress> progress = RunProgress::parse(paused->info.metadata);
    if (Status waiting = check_waiting(progress, decision); !waiting) {
        return std::unexpected(std::move(waiting.error()));
    }
    decide(*progress, decision);
    return save(service, *paused, *progress, decision);
}

Result<Receipt> decide_on_head(StatePersistence& service, const ApprovalDecision& decision) {
    if (Status status = check_id("step", decision.step); !status) return std::unexpected(std::move(status.error()));
    if (Status status = check_id("by", decision.by); !status) return std::unexpected(std::move(status.error()));
    Result<Receipt> decided = decide_once(service, decision);
    // The head has moved, or the run has just been deleted: reading again shows which.
    for (int reads = 1; reads < kReadsMax && !decided && decided.error().code == ErrorCode::kConflict; ++reads) {
        decided = decide_once(service, decision);
    }
    return decided;
}

}  // namespace

std::string_view to_string(Approval::Decision decision) noexcept {
    switch (decision) {
        case Approval::Decision::kPending:
            return "pending";
        case Approval::Decision::kApproved:
            return "approved";
        case Approval::Decision::kRejected:
            break;
    }
    return "rejected";
}

Error rejection_error(const Approval& approval) {
    return advise({.code = ErrorCode::kConflict,
                   .message = fmt::format("step \"{}\": it was rejected by \"{}\"", approval.step, approval.by)},
                  std::string(kAfterRejection));
}

Result<Receipt> decide_approval(StatePersistence& service, const ApprovalDecision& decision) {
    return guarded([&] { return decide_on_head(service, decision); });
}

}  // namespace cairn
