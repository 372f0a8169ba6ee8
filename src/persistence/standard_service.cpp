#include "persistence/async_calls.h"
#include "persistence/save/request_rules.h"
#include "persistence/save_observation.h"
#include "persistence/service_core.h"
#include "persistence/service_gate.h"

#include <cairn/persistence.h>

#include <chrono>
#include <memory>
#include <utility>

namespace cairn {

struct StatePersistenceService::Impl {
    Impl(const std::shared_ptr<ServiceCore>& its_core, SaveObservation its_observation)
        : shared_core(its_core), observation(std::move(its_observation)) {}

    Result<Receipt> save(const StatePersistenceRequest& request);
    Result<LoadedState> load_state(const LoadRequest& request) const;
    Result<RecoveryResult> recover(const StateRecoveryRequest& request);

    const std::shared_ptr<ServiceCore> shared_core;
    ServiceCore& core = *shared_core;
    ServiceGate gate;
    const SaveObservation observation;
};

Result<Receipt> StatePersistenceService::Impl::save(const StatePersistenceRequest& request) {
    if (Status status = core.check(request); !status) return std::unexpected(std::move(status.error()));
    const Deadline until = core.deadline(request.timeout);
    const Result<RunLanes::Turn> turn = core.lanes.enter(request.run_id, until);
    if (!turn) return std::unexpected(turn.error());
    return core.write_standard(request, until);
}

Result<LoadedState> StatePersistenceService::Impl::load_state(const LoadRequest& request) const {
    if (Status status = check_load_request(request); !status) return std::unexpected(std::move(status.error()));
    return core.load(request, core.deadline(request.timeout));
}

Result<RecoveryResult> StatePersistenceService::Impl::recover(const StateRecoveryRequest& request) {
    const Deadline until = core.deadline(request.timeout);
    const Result<RunLanes::Turn> turn = core.lanes.enter(request.run_id, until);
    if (!turn) return std::unexpected(turn.error());
    return core.recovery.recover(request, until);
}

StatePersistenceService::StatePersistenceService(std::shared_ptr<Store> store, PersistenceOptions options)
    : StatePersistence(options.executor, options.timeout) {
    const auto core = std::make_shared<ServiceCore>(std::move(store), std::move(options));
    impl_ = std::make_unique<Impl>(core, SaveObservation(core->options));
}

StatePersistenceService::StatePersistenceService(const std::shared_ptr<ServiceCore>& core)
    : StatePersistence(core->options.executor, core->options.timeout),
      impl_(std::make_unique<Impl>(core, SaveObservation())) {}

StatePersistenceService::~StatePersistenceService() {
    end_async_calls();
}

Result<Receipt> StatePersistenceService::save_agent_state(const StatePersistenceRequest& request) {
    return impl_->observation.of(request, [&] { return impl_->gate.while_open([&] { return impl_->save(request); }); });
}

StatePersistence::Submitted StatePersistenceService::save_agent_state_async(const StatePersistenceRequest& request,
                                                                            SaveCompletion done) {
    // The completion tells the observer, also if the call is never made. So the save itself does not.
    constexpr auto kSaveUnobserved = [](StatePersistence& service, const StatePersistenceRequest& save) {
        Impl& impl = *static_cast<StatePersistenceService&>(service).impl_;
        return impl.gate.while_open([&] { return impl.save(save); });
    };
    return async_calls().make_timed<kSaveUnobserved>(*this, request,
                                                     impl_->observation.before(std::move(done), request));
}

Result<LoadedState> StatePersistenceService::load_agent_state(const LoadRequest& request) {
    return impl_->gate.while_open([&] { return impl_->load_state(request); });
}

Result<RecoveryResult> StatePersistenceService::recover_agent_state(const StateRecoveryRequest& request) {
    return impl_->gate.while_open([&] { return impl_->recover(request); });
}

Result<ThreadContext> StatePersistenceService::get_thread_context(std::string_view thread_id,
                                                                  std::optional<std::string_view> user_id,
                                                                  std::optional<std::chrono::milliseconds> timeout) {
    return impl_->gate.while_open(
        [&] { return read_thread_context(*impl_->core.store, thread_id, user_id, impl_->core.deadline(timeout)); });
}

Status StatePersistenceService::flush(std::string_view /*run_id*/,
                                      std::optional<std::chrono::milliseconds> /*timeout*/) {
    return impl_->gate.while_open([] { return Status(); });
}

Status StatePersistenceService::flush_all(std::optional<std::chrono::milliseconds> /*timeout*/) {
    return impl_->gate.while_open([] { return Status(); });
}

Status StatePersistenceService::close() {
    if (impl_->gate.is_forked()) return {};
    async_calls().wait_until_ended();
    impl_->gate.close();
    impl_->gate.wait_for_calls();
    return {};
}

}  // namespace cairn
