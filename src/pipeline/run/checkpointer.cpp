#include "pipeline/run/checkpointer.h"

#include <utility>

namespace cairn {

Status Checkpointer::save(const Checkpoint& checkpoint) {
    StatePersistenceRequest request = common_;
    request.state_data = checkpoint.state;
    request.checkpoint_type = checkpoint.type;
    request.agent_phase = checkpoint.phase;
    request.metadata = checkpoint.progress.to_metadata();
    request.parent_snapshot_id = checkpoint.parent;
    request.snapshot_id = checkpoint.snapshot_id;
    if (checkpoint.durability) request.durability = checkpoint.durability;
    const Result<Receipt> receipt = service_.save_agent_state(request);
    events_.tell(PipelineEvent::Type::kCheckpoint, [&](PipelineEvent& event) {
        event.step = checkpoint.step;
        event.checkpoint_type = checkpoint.type;
        if (receipt) event.receipt = *receipt;
        if (!receipt) event.error = receipt.error();
    });
    if (!receipt) {
        error_ = receipt.error();
        return std::unexpected(receipt.error());
    }
    ++(receipt->outcome == Outcome::kDeduplicated ? skips_ : saves_);
    last_ = *receipt;
    return {};
}

}  // namespace cairn
