#include "service_handle.h"

#include "answers.h"
#include "log_queue.h"
#include "process.h"
#include "state_reader.h"
#include "state_writer.h"
#include "store_handle.h"

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

// What is kept alive by every call that was not made yet.
struct Service {
    std::unique_ptr<StatePersistence> service;
    OptimizedStatePersistence* optimized;        ///< Null: it is the standard one.
    std::atomic<bool> has_acknowledged = false;  ///< A save that is queued, since the queue was last found empty.

    Answer answer_of(Result<Receipt> receipt) {
        if (receipt && receipt->outcome == Outcome::kQueued) has_acknowledged = true;
        return answer(std::move(receipt), kTuple);
    }
    /// Whether saves may be queued that somebody was told of.
    bool is_relied_on() {
        if (optimized == nullptr || !has_acknowledged.exchange(false)) return false;
        if (optimized->get_cache_stats().queue_size == 0) return false;
        return has_acknowledged = true;
    }
};

class ServiceHandle {
public:
    ServiceHandle(const StoreHandle& store, Config config, bool is_optimized)
        : limits_(config.state_limits()), executor_(store.executor()), process_(store.process()) {
        config.enable_optimized_persistence = is_optimized;
        auto service = make_persistence(config, value_of(store.store()), logging_runtime());
        auto* const optimized = dynamic_cast<OptimizedStatePersistence*>(service.get());
        service_ = bound_to_process(std::make_shared<Service>(std::move(service), optimized));
    }

    const StateLimits& limits() const { return limits_; }

    std::shared_ptr<Service> service() const {
        if (::getpid() != process_) raise(made_before_fork("the service", process_));
        return service_;
    }

    /// A call that blocks. What has one key is made in order.
    template <class Ask>
    Call call(std::string key, const Ask& ask) const {
        return {executor_, std::move(key), [service = service(), ask] { return ask(*service->service); }};
    }

    Call save(const StatePersistenceRequest& request) const {
        const auto run = [service = service(), request] {
            return service->answer_of(service->service->save_agent_state(request));
        };
        if (service()->optimized == nullptr) return Call(executor_, request.run_id, run).noted_in(untold_);
        const auto begin = [service = service(), request](const Done& done) {
            service->optimized->save_async(
                request, [service, done](Result<Receipt> receipt) { done(service->answer_of(std::move(receipt))); });
        };
        return Call(executor_, request.run_id, run, begin).noted_in(untold_);
    }

    /// How many saves are under way that nobody has been told of, and whether others may be on which somebody relies.
    std::pair<std::size_t, bool> saves_under_way() const { return {untold_->count(), service()->is_relied_on()}; }

private:
    StateLimits limits_;
    std::shared_ptr<CallExecutor> executor_;
    pid_t process_;
    std::shared_ptr<Service> service_;
    std::shared_ptr<UntoldCalls> untold_ = std::make_shared<UntoldCalls>();
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
          const OptionalText& durability) {
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
    return handle.save(request);
}

py::object loaded_to_python(const LoadedState& loaded) {
    return py::make_tuple(object_of(loaded.state.text()), text_of(loaded.state.text()), tuple_of(loaded.info));
}

Call load(const ServiceHandle& handle, const std::string& run_id, OptionalText snapshot_id, OptionalText thread_id,
          OptionalText user_id) {
    const LoadRequest request{run_id, std::move(snapshot_id), std::move(thread_id), std::move(user_id)};
    return handle.call(run_id, [request](StatePersistence& service) {
        return answer(service.load_agent_state(request), &loaded_to_python);
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
    return handle.call(
        run_id, [request](StatePersistence& service) { return answer(service.recover_agent_state(request), kTuple); });
}

Call thread_context(const ServiceHandle& handle, const std::string& thread_id, const OptionalText& user_id) {
    return handle.call(
        "", [=](StatePersistence& service) { return answer(service.get_thread_context(thread_id, user_id), kTuple); });
}

Call flush(const ServiceHandle& handle, const OptionalText& run_id, OptionalCount timeout_ms) {
    const auto timeout = milliseconds_of(timeout_ms);
    return handle.call(run_id.value_or(""), [=](StatePersistence& service) {
        return answer(run_id ? service.flush(*run_id, timeout) : service.flush_all(timeout));
    });
}

Call close(const ServiceHandle& handle) {
    return handle.call("", [](StatePersistence& service) { return answer(service.close()); });
}

OptimizedStatePersistence& optimized(const ServiceHandle& handle) {
    auto* const service = handle.service()->optimized;
    if (service == nullptr) throw py::type_error("the standard service has no cache");
    return *service;
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
        .def(py::init<const StoreHandle&, Config, bool>(), py::arg("store"), py::arg("config"), py::kw_only(),
             py::arg("is_optimized"))
        .def(
            "state_of",
            [](const ServiceHandle& handle, py::handle object, std::string_view name) {
                return state_of(object, name, handle.limits());
            },
            py::arg("object"), py::arg("name"))
        .def("save", &save, py::kw_only(), py::arg("run_id"), py::arg("thread_id"), py::arg("user_id"),
             py::arg("state"), py::arg("checkpoint_type"), py::arg("agent_phase"), py::arg("execution_context"),
             py::arg("is_recovery_point"), py::arg("expires_at"), py::arg("parent_snapshot_id"), py::arg("metadata"),
             py::arg("snapshot_id"), py::arg("on_conflict"), py::arg("expected_version"), py::arg("timeout_ms"),
             py::arg("durability"))
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
