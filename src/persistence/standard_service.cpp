#include "persistence/guarded.h"
#include "persistence/recovery.h"
#include "persistence/request_rules.h"
#include "persistence/run_lanes.h"
#include "persistence/service_core.h"

#include <cairn/persistence.h>

namespace cairn {

struct StatePersistenceService::Impl : ServiceCore {
    using ServiceCore::ServiceCore;
};

StatePersistenceService::StatePersistenceService(std::shared_ptr<Store> store, PersistenceOptions options)
    : impl_(std::make_unique<Impl>(std::move(store), std::move(options))) {}

StatePersistenceService::~StatePersistenceService() = default;

Result<Receipt> StatePersistenceService::save_agent_state(const StatePersistenceRequest& request) {
    return guarded([&]() -> Result<Receipt> {
        if (Status status = impl_->check(request); !status) return std::unexpected(std::move(status.error()));
        const Deadline deadline = impl_->deadline(request);
        return impl_->lanes.run(request.run_id, std::nullopt, deadline, [&] {
            return impl_->write_full(request, impl_->snapshot_id(request), FrameOptions{.compression = false},
                                     deadline);
        });
    });
}

Result<LoadedState> StatePersistenceService::load_agent_state(const LoadRequest& request) {
    return guarded([&]() -> Result<LoadedState> { return impl_->load(request); });
}

Result<RecoveryResult> StatePersistenceService::recover_agent_state(const StateRecoveryRequest& request) {
    return guarded([&] { return impl_->recover(request); });
}

Result<ThreadContext> StatePersistenceService::get_thread_context(std::string_view thread_id,
                                                                  std::optional<std::string_view> user_id) {
    return guarded([&] { return read_thread_context(*impl_->store, thread_id, user_id); });
}

}  // namespace cairn
