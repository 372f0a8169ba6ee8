#include "pipeline/run/checkpointer.h"

#include <chrono>
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
    const auto started = std::chrono::steady_clock::now();
    const Result<Receipt> receipt = service_.save_agent_state(request);
    SaveEvent saved = SaveEvent::of(request, receipt);
    saved.duration = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started);
    events_.tell_saved(saved, checkpoint.step);
    if (!receipt) {
        error_ = receipt.error();
        return std::unexpected(receipt.error());
    }
    ++(receipt->outcome == Outcome::kDeduplicated ? skips_ : saves_);
    last_ = *receipt;
    return {};
}

}  // namespace cairn
