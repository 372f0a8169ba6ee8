#include "service_handle.h"

#include "calls.h"
#include "errors.h"
#include "execution.h"
#include "log_queue.h"
#include "process.h"
#include "save_watchers.h"
#include "state_writer.h"
#include "store_handle.h"
#include "values.h"

#include <cairn/config.h>
#include <cairn/persistence.h>

#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace cairn::python {

namespace py = pybind11;

namespace {

using OptionalText = std::optional<std::string>;
using OptionalCount = std::optional<std::int64_t>;

std::optional<std::chrono::milliseconds> milliseconds_of(OptionalCount count) {
    if (!count) return std::nullopt;
    return std::chrono::milliseconds(*count);
}

class ServiceHandle {
public:
    ServiceHandle(const StoreHandle& store, const Config& config, bool is_optimized)
        : limits_(config.state_limits()), executor_(store.executor()), process_(store.process()) {
        OptimizedOptions options = persistence_options(config, logging_runtime());
        options.executor = executor_;
        options.observer = [watchers = store.watchers()](const SaveEvent& event) { watchers->tell(event); };
        if (is_optimized) {
            optimized_ = shared(new OptimizedStatePersistence(value_of(store.store()), options));
            service_ = optimized_;
        } else {
            const PersistenceOptions& standard = options;
            service_ = shared(new StatePersistenceService(value_of(store.store()), standard));
        }
    }

    const StateLimits& limits() const { return limits_; }

    std::shared_ptr<StatePersistence> service() const {
        check_process();
        return service_;
    }
    /// Returns null if this is the standard service.
    std::shared_ptr<OptimizedStatePersistence> optimized() const {
        check_process();
        return optimized_;
    }

    /// `make(service)` blocks and returns a Result. `begin(service, tell)` is the same call with a completion.
    template <class Make, class Begin>
    Call call(const Make& make, const Begin& begin) const {
        return {executor_, [service = service(), begin](const Tell& tell) { return begin(*service, tell); },
                [service = service(), make] { return Ended(make(*service)); }};
    }

    /// `execution`: what the save belongs to; null: nothing.
    Call save(StatePersistenceRequest saved, const std::shared_ptr<Execution>& execution) const {
        if (execution) saved.lease = execution->lease();
        if (saved.lease) saved.durability = Durability::kSync;  // on disk before the lease is given up
        const auto request = std::make_shared<const StatePersistenceRequest>(std::move(saved));
        // An acknowledged save that is queued must be noted, in case the program is ended.
        const auto noted = [acknowledged = has_acknowledged_, execution, request,
                            begun = std::chrono::steady_clock::now()](Result<Receipt> receipt) {
            if (receipt && receipt->outcome == Outcome::kQueued) *acknowledged = true;
            if (execution) execution->tell_saved(ended(*request, receipt, begun));
            return receipt;
        };
        return call([request, noted](StatePersistence& service) { return noted(service.save_agent_state(*request)); },
                    [request, noted](StatePersistence& service, const Tell& tell) {
                        return service.save_agent_state_async(
                            *request, [noted, tell](Result<Receipt> receipt) { tell(noted(std::move(receipt))); });
                    })
            .noted_in(untold_, request->run_id);
    }

    /// Returns the number of saves under way whose result nobody has received, and whether acknowledged saves may be
    /// queued as well.
    std::pair<std::size_t, bool> saves_under_way() const { return {untold_->count(), is_relied_on()}; }

private:
    // Python or a call of the service may drop the last reference. Neither waits for calls that are under way.
    template <class Service>
    static std::shared_ptr<Service> shared(Service* service) {
        return bound_to_process(std::shared_ptr<Service>(service, &StatePersistence::let_go));
    }

    static SaveEvent ended(const StatePersistenceRequest& request, const Result<Receipt>& receipt,
                           std::chrono::steady_clock::time_point begun) {
        SaveEvent event = SaveEvent::of(request, receipt);
        event.duration =
            std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun);
        return event;
    }

    void check_process() const {
        if (::getpid() != process_) raise(made_before_fork_error("the service", process_));
    }

    // Returns true if acknowledged saves may still be queued.
    bool is_relied_on() const {
        const auto service = optimized();
        if (!service || !has_acknowledged_->exchange(false)) return false;
        if (service->get_cache_stats().queue_size == 0) return false;
        return *has_acknowledged_ = true;
    }

    StateLimits limits_;
    std::shared_ptr<CallExecutor> executor_;
    pid_t process_;
    std::shared_ptr<OptimizedStatePersistence> optimized_;
    std::shared_ptr<StatePersistence> service_;
    std::shared_ptr<UntoldCalls> untold_ = std::make_shared<UntoldCalls>();
    /// A save was acknowledged as queued since the queue was last found empty.
    std::shared_ptr<std::atomic<bool>> has_acknowledged_ = std::make_shared<std::atomic<bool>>(false);
};

[[noreturn]] void refuse(const char* field, const std::string& value, const char* accepted) {
    raise({.code = ErrorCode::kInvalidArgument,
           .message = std::string(field) + " is \"" + value + "\": give " + accepted});
}

Call save(const ServiceHandle& handle, std::string run_id, std::string thread_id, std::string user_id,
          const State& state, std::string checkpoint_type, std::string agent_phase,
          std::optional<State> execution_context, bool is_recovery_point, OptionalCount expires_at,
          OptionalText parent_snapshot_id, std::optional<State> metadata, std::string snapshot_id,
          const std::string& on_conflict, OptionalCount expected_version, OptionalCount timeout_ms,
          const OptionalText& durability, const std::shared_ptr<Execution>& execution) {
    StatePersistenceRequest request{.run_id = std::move(run_id),
                                    .thread_id = std::move(thread_id),
                                    .user_id = std::move(user_id),
                                    .state_data = state,
                                    .checkpoint_type = CheckpointType(std::move(checkpoint_type)),
                                    .agent_phase = AgentPhase(std::move(agent_phase)),
                                    .execution_context = std::move(execution_context),
                                    .is_recovery_point = is_recovery_point,
                                    .parent_snapshot_id = std::move(parent_snapshot_id),
                                    .metadata = std::move(metadata),
                                    .snapshot_id = std::move(snapshot_id),
                                    .expected_version = expected_version,
                                    .timeout = milliseconds_of(timeout_ms)};
    if (expires_at) request.expires_at = timestamp_of(*expires_at);
    const auto conflict = parse_on_conflict(on_conflict);
    if (!conflict) refuse("on_conflict", on_conflict, "rebase or fail");
    request.on_conflict = *conflict;
    if (durability) {
        request.durability = parse_durability(*durability);
        if (!request.durability) refuse("durability", *durability, "sync, async or exit");
    }
    return handle.save(std::move(request), execution);
}

Call load(const ServiceHandle& handle, const std::string& run_id, OptionalText snapshot_id, OptionalText thread_id,
          OptionalText user_id) {
    const LoadRequest request{run_id, std::move(snapshot_id), std::move(thread_id), std::move(user_id)};
    return handle.call([request](StatePersistence& service) { return service.load_agent_state(request); },
                       [request](StatePersistence& service, const Tell& tell) {
                           return service.load_agent_state_async(request, told<LoadedState>(tell));
                       });
}

Call recover(const ServiceHandle& handle, const std::string& run_id, const std::string& recovery_type,
             OptionalText target_snapshot_id, std::string failure_reason, bool auto_recovery, OptionalText thread_id,
             OptionalText user_id) {
    const auto type = parse_recovery_type(recovery_type);
    if (!type) refuse("recovery_type", recovery_type, "restart, resume or rollback");
    const StateRecoveryRequest request{.run_id = run_id,
                                       .recovery_type = *type,
                                       .target_snapshot_id = std::move(target_snapshot_id),
                                       .failure_reason = std::move(failure_reason),
                                       .auto_recovery = auto_recovery,
                                       .thread_id = std::move(thread_id),
                                       .user_id = std::move(user_id)};
    return handle.call([request](StatePersistence& service) { return service.recover_agent_state(request); },
                       [request](StatePersistence& service, const Tell& tell) {
                           return service.recover_agent_state_async(request, told<RecoveryResult>(tell));
                       });
}

Call thread_context(const ServiceHandle& handle, const std::string& thread_id, const OptionalText& user_id) {
    return handle.call([=](StatePersistence& service) { return service.get_thread_context(thread_id, user_id); },
                       [=](StatePersistence& service, const Tell& tell) {
                           return service.get_thread_context_async(thread_id, user_id, {}, told<ThreadContext>(tell));
                       });
}

Call flush(const ServiceHandle& handle, const OptionalText& run_id, OptionalCount timeout_ms) {
    const auto timeout = milliseconds_of(timeout_ms);
    return handle.call(
        [=](StatePersistence& service) {
            return run_id ? service.flush(*run_id, timeout) : service.flush_all(timeout);
        },
        [=](StatePersistence& service, const Tell& tell) {
            return run_id ? service.flush_async(*run_id, timeout, told<void>(tell))
                          : service.flush_all_async(timeout, told<void>(tell));
        });
}

Call close(const ServiceHandle& handle) {
    return handle.call([](StatePersistence& service) { return service.close(); },
                       [](StatePersistence& service, const Tell& tell) {
                           service.close_async(told<void>(tell));
                           return CallExecutor::Submitted();
                       });
}

OptimizedStatePersistence& optimized(const ServiceHandle& handle) {
    const auto service = handle.optimized();
    if (!service) throw py::type_error("the standard service has no cache");
    return *service;  // the handle holds it
}

void configure(const ServiceHandle& handle, std::optional<bool> enable_deduplication,
               std::optional<bool> enable_compression, std::optional<std::size_t> cache_max_size,
               std::optional<std::size_t> cache_max_bytes, std::optional<bool> ignore_key_order) {
    value_of(optimized(handle).configure(
        {enable_deduplication, enable_compression, cache_max_size, cache_max_bytes, ignore_key_order}));
}

}  // namespace

void bind_service(py::module_& module) {
    [[maybe_unused]] const py::class_<State> state_class(module, "State");
    py::class_<ServiceHandle>(module, "Service")
        .def(py::init<const StoreHandle&, const Config&, bool>(), py::arg("store"), py::arg("config"), py::kw_only(),
             py::arg("is_optimized"))
        .def(
            "state_of",
            [](const ServiceHandle& handle, py::handle object, std::string_view name) {
                return state_of(object, name, handle.limits());
            },
            py::arg("object"), py::arg("name"))
        .def(
            "opaque_state_of",
            [](const ServiceHandle& handle, py::handle object, std::string_view name, std::string_view state_type) {
                return opaque_state_of(object, name, state_type, handle.limits());
            },
            py::arg("object"), py::arg("name"), py::arg("state_type"))
        .def("save", &save, py::kw_only(), py::arg("run_id"), py::arg("thread_id"), py::arg("user_id"),
             py::arg("state"), py::arg("checkpoint_type"), py::arg("agent_phase"), py::arg("execution_context"),
             py::arg("is_recovery_point"), py::arg("expires_at"), py::arg("parent_snapshot_id"), py::arg("metadata"),
             py::arg("snapshot_id"), py::arg("on_conflict"), py::arg("expected_version"), py::arg("timeout_ms"),
             py::arg("durability"), py::arg("execution"))
        .def("load", &load, py::arg("run_id"), py::kw_only(), py::arg("snapshot_id"), py::arg("thread_id"),
             py::arg("user_id"))
        .def("recover", &recover, py::kw_only(), py::arg("run_id"), py::arg("recovery_type"),
             py::arg("target_snapshot_id"), py::arg("failure_reason"), py::arg("auto_recovery"), py::arg("thread_id"),
             py::arg("user_id"))
        .def("thread_context", &thread_context, py::arg("thread_id"), py::kw_only(), py::arg("user_id"))
        .def("flush", &flush, py::kw_only(), py::arg("run_id"), py::arg("timeout_ms"))
        .def("close", &close)
        .def("saves_under_way", &ServiceHandle::saves_under_way)
        .def("configure", &configure, py::kw_only(), py::arg("enable_deduplication"), py::arg("enable_compression"),
             py::arg("cache_max_size"), py::arg("cache_max_bytes"), py::arg("ignore_key_order"))
        .def("cache_stats", [](const ServiceHandle& handle) { return dict_of(optimized(handle).get_cache_stats()); })
        .def("clear_cache", [](const ServiceHandle& handle) { optimized(handle).clear_cache(); });
}

}  // namespace cairn::python
