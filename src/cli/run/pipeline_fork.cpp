#include "cli/run/pipeline_fork.h"

#include "cli/run/run_input.h"
#include "pipeline/run/run_progress.h"
#include "state/state_members.h"

#include <string>
#include <utility>
#include <vector>

namespace cairn::cli {
namespace {

// A deleted snapshot is left out: the executor can do without it (its step runs again).
Result<bool> copy(StatePersistence& service, const SnapshotInfo& source, const std::string& snapshot_id,
                  const std::string& base, StatePersistenceRequest request) {
    auto loaded = service.load_agent_state({.run_id = source.run_id, .snapshot_id = snapshot_id});
    if (!loaded && loaded.error().code == ErrorCode::kNotFound) return false;
    if (!loaded) return std::unexpected(std::move(loaded.error()));
    request.state_data = std::move(loaded->state);
    request.checkpoint_type = loaded->info.checkpoint_type;
    request.agent_phase = loaded->info.agent_phase;
    if (!loaded->info.metadata.empty()) {
        request.metadata = State::from_normal_text(std::move(loaded->info.metadata));
    }
    request.snapshot_id = snapshot_id;
    if (snapshot_id != base) request.parent_snapshot_id = base;
    const auto saved = service.save_agent_state(request);
    if (!saved) return std::unexpected(saved.error());
    return true;
}

}  // namespace

std::optional<State> labels_of_fork(const SnapshotInfo& source, std::optional<State> labels) {
    if (!RunProgress::parse(source.metadata)) return labels;
    State carried = State::from_normal_text(std::string(source.metadata));
    if (!labels) return carried;
    MemberReader members(labels->text());
    while (const auto key = members.next_key()) {
        carried = with_top_member(carried, unescaped_key(*key), std::string(members.take_value()));
    }
    return carried;
}

Result<bool> copy_group(StatePersistence& service, const SnapshotInfo& source, const StatePersistenceRequest& fork) {
    const auto progress = RunProgress::parse(source.metadata);
    if (!progress || progress->group_base.empty()) return false;
    StatePersistenceRequest request{.run_id = fork.run_id, .thread_id = fork.thread_id, .user_id = fork.user_id};
    request.on_conflict = OnConflict::kFail;
    request.expected_version = 0;
    const auto base = copy(service, source, progress->group_base, progress->group_base, request);
    if (!base || !*base) return base;
    request.on_conflict = OnConflict::kRebase;
    request.expected_version.reset();
    for (const auto& [step, snapshot_id] : progress->group_finished) {
        const auto copied = copy(service, source, snapshot_id, progress->group_base, request);
        if (!copied) return copied;
    }
    return true;
}

}  // namespace cairn::cli
