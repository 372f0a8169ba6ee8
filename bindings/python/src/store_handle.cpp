#include "store_handle.h"

#include "calls.h"
#include "errors.h"
#include "interruptible.h"
#include "log_queue.h"
#include "process.h"
#include "save_watchers.h"
#include "state_writer.h"
#include "values.h"

#include <cairn/faulty_store.h>
#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <fmt/format.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <utility>

namespace cairn::python {

namespace py = pybind11;

namespace {

using OptionalText = std::optional<std::string>;
using OptionalTime = std::optional<std::int64_t>;

// `begin(store, tell)` makes the call with a completion.
template <class Begin>
Call call(const StoreHandle& handle, const Begin& begin) {
    return {handle.executor(), [store = handle.async(), begin](const Tell& tell) { return begin(store, tell); }};
}

// The deadline of one reading that begins now.
Deadline reading_deadline() {
    constexpr std::chrono::seconds kPatience(30);
    return std::chrono::steady_clock::now() + kPatience;
}

std::shared_ptr<CallExecutor> make_executor() {
    return bound_to_process(std::make_shared<CallExecutor>());
}

using Opened = Result<std::shared_ptr<Store>>;

std::shared_ptr<StoreHandle> open(const std::string& url, bool read_only, bool create, std::uint32_t file_mode) {
    const OpenOptions options{
        .read_only = read_only, .create = create, .file_mode = file_mode, .runtime = logging_runtime()};
    const auto executor = make_executor();
    const auto awaited = std::make_shared<Awaited<Opened>>();
    // The call itself holds the executor, so an interrupted thread does not wait for the executor's end.
    executor->submit("", [executor, awaited, url, options] { awaited->bring(open_store(url, options)); });
    std::optional<Opened> opened = awaited->wait();
    if (!opened) throw py::error_already_set();
    return std::make_shared<StoreHandle>(value_of(std::move(*opened)), executor);
}

// ---- for tests ----

class FaultyStoreHandle : public StoreHandle {
public:
    explicit FaultyStoreHandle(std::shared_ptr<FaultyStore> store)
        : StoreHandle(store, make_executor()), faulty_(std::move(store)) {}
    FaultyStore& faulty() const { return *faulty_; }

private:
    std::shared_ptr<FaultyStore> faulty_;
};

std::shared_ptr<FaultyStoreHandle> make_faulty(const StoreHandle& handle) {
    return std::make_shared<FaultyStoreHandle>(std::make_shared<FaultyStore>(value_of(handle.store())));
}

constexpr std::array<std::pair<std::string_view, StoreCall>, 5> kStoreCalls{{{"commit", StoreCall::kCommit},
                                                                             {"head", StoreCall::kHead},
                                                                             {"get", StoreCall::kGet},
                                                                             {"history", StoreCall::kHistory},
                                                                             {"lease", StoreCall::kLease}}};

StoreCall store_call_of(const std::string& name) {
    const auto* const found = std::ranges::find(kStoreCalls, name, &std::pair<std::string_view, StoreCall>::first);
    if (found != kStoreCalls.end()) return found->second;
    throw py::value_error(fmt::format("call is \"{}\": give commit, head, get, history or lease", name));
}

void inject(const FaultyStoreHandle& handle, const std::string& call, std::uint64_t nth, const std::string& error,
            bool for_good, bool after_effect) {
    const auto rows = error_table();
    const auto found = std::ranges::find(rows, error, &ErrorInfo::name);
    if (found == rows.end()) throw py::value_error(fmt::format("error is \"{}\": give a code, as unavailable", error));
    handle.faulty().inject({.call = store_call_of(call),
                            .code = found->code,
                            .nth = nth,
                            .for_good = for_good,
                            .after_effect = after_effect});
}

Call close(const StoreHandle& handle) {
    return call(handle, [](const AsyncStore& store, const Tell& tell) { return store.close(told<void>(tell)); });
}

// The members that metadata must have, in the form that the engine compares: key and normal text.
std::vector<std::pair<std::string, std::string>> members_of(const py::dict& metadata) {
    std::vector<std::pair<std::string, std::string>> members;
    for (const auto& [key, value] : metadata) {
        const py::dict one;
        one[key] = value;
        const State state = state_of(one, "metadata", {});
        const auto name = key.cast<std::string>();
        members.emplace_back(name, std::string(state.member(name).value_or("null")));
    }
    return members;
}

Call history(const StoreHandle& handle, const std::string& run_id, OptionalText thread_id, OptionalText user_id,
             const OptionalText& checkpoint_type, const OptionalText& agent_phase,
             std::optional<bool> is_recovery_point, OptionalTime created_from, OptionalTime created_until,
             const py::dict& metadata, bool oldest_first, std::optional<std::int64_t> after_version,
             std::size_t limit) {
    HistoryQuery query{.run_id = run_id, .thread_id = std::move(thread_id), .user_id = std::move(user_id)};
    if (checkpoint_type) query.checkpoint_type = CheckpointType(*checkpoint_type);
    if (agent_phase) query.agent_phase = AgentPhase(*agent_phase);
    query.is_recovery_point = is_recovery_point;
    if (created_from) query.created_from = timestamp_of(*created_from);
    if (created_until) query.created_until = timestamp_of(*created_until);
    query.metadata = members_of(metadata);
    query.order = oldest_first ? HistoryQuery::Order::kOldestFirst : HistoryQuery::Order::kNewestFirst;
    query.after_version = after_version;
    query.limit = limit;
    return call(handle, [query](const AsyncStore& store, const Tell& tell) {
        return store.history(query, reading_deadline(), told<std::vector<SnapshotInfo>>(tell));
    });
}

Call runs(const StoreHandle& handle, OptionalText thread_id, OptionalText user_id, std::string cursor,
          std::size_t limit) {
    const RunQuery query{
        .thread_id = std::move(thread_id), .user_id = std::move(user_id), .cursor = std::move(cursor), .limit = limit};
    return call(handle, [query](const AsyncStore& store, const Tell& tell) {
        return store.runs(query, reading_deadline(), told<Page<RunInfo>>(tell));
    });
}

Call threads(const StoreHandle& handle, OptionalText user_id, std::string cursor, std::size_t limit) {
    const ThreadQuery query{std::move(user_id), std::move(cursor), limit};
    return call(handle, [query](const AsyncStore& store, const Tell& tell) {
        return store.threads(query, reading_deadline(), told<Page<ThreadInfo>>(tell));
    });
}

Call recovery_log(const StoreHandle& handle, const std::string& run_id, std::size_t limit) {
    return call(handle, [=](const AsyncStore& store, const Tell& tell) {
        return store.recovery_log(run_id, limit, reading_deadline(), told<std::vector<RecoveryRecord>>(tell));
    });
}

Call check(const StoreHandle& handle, bool deep) {
    return call(handle, [deep](const AsyncStore& store, const Tell& tell) {
        return deep ? store.check_deep(Deadline::max(), {}, told<CheckReport>(tell))
                    : store.check(Deadline::max(), told<CheckReport>(tell));
    });
}

Call prune(const StoreHandle& handle, std::optional<std::size_t> keep_last, std::optional<double> age_max_seconds,
           bool expired, bool include_recovery_points, OptionalText run_id, OptionalText thread_id,
           OptionalText user_id, bool dry_run) {
    RetentionPolicy policy{.keep_last = keep_last,
                           .expired = expired,
                           .include_recovery_points = include_recovery_points,
                           .run_id = std::move(run_id),
                           .thread_id = std::move(thread_id),
                           .user_id = std::move(user_id)};
    if (age_max_seconds) {
        policy.age_max =
            std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::duration<double>(*age_max_seconds));
    }
    const RetentionOptions options{.dry_run = dry_run, .runtime = logging_runtime()};
    return call(handle, [=](const AsyncStore& store, const Tell& tell) {
        return store.prune(policy, options, told<RetentionReport>(tell));
    });
}

Call delete_runs(const StoreHandle& handle, OptionalText run_id, OptionalText thread_id, OptionalText user_id,
                 bool dry_run) {
    const DeletionTarget target{std::move(run_id), std::move(thread_id), std::move(user_id)};
    const RetentionOptions options{.dry_run = dry_run, .runtime = logging_runtime()};
    return call(handle, [=](const AsyncStore& store, const Tell& tell) {
        return store.delete_runs(target, options, told<RetentionReport>(tell));
    });
}

}  // namespace

StoreHandle::StoreHandle(std::shared_ptr<Store> store, std::shared_ptr<CallExecutor> executor)
    : store_(bound_to_process(std::move(store))),
      executor_(std::move(executor)),
      watchers_(std::make_shared<SaveWatchers>()) {}

Error made_before_fork_error(const std::string& what, pid_t process) {
    return {.code = ErrorCode::kClosed,
            .message = fmt::format("{} belongs to process {}, of which this one is a fork: open the store after "
                                   "forking only, or start the process anew (exec, spawn)",
                                   what, process)};
}

Result<std::shared_ptr<Store>> StoreHandle::store() const {
    if (::getpid() != process_) return std::unexpected(made_before_fork_error("the store", process_));
    return store_;
}

AsyncStore StoreHandle::async() const {
    return {value_of(store()), executor_};
}

void bind_store(py::module_& module) {
    module.def("open", &open, py::arg("url"), py::kw_only(), py::arg("read_only"), py::arg("create"),
               py::arg("file_mode"));
    py::class_<StoreHandle, std::shared_ptr<StoreHandle>>(module, "Store")
        .def("close", &close)
        .def(
            "watch",
            [](const StoreHandle& handle, std::size_t queue_size) { return handle.watchers()->add(queue_size); },
            py::kw_only(), py::arg("queue_size"))
        .def("watchers", [](const StoreHandle& handle) { return handle.watchers()->count(); })
        .def("end_watching", [](const StoreHandle& handle) { handle.watchers()->end(); })
        .def("history", &history, py::arg("run_id"), py::kw_only(), py::arg("thread_id"), py::arg("user_id"),
             py::arg("checkpoint_type"), py::arg("agent_phase"), py::arg("is_recovery_point"), py::arg("created_from"),
             py::arg("created_until"), py::arg("metadata"), py::arg("oldest_first"), py::arg("after_version"),
             py::arg("limit"))
        .def("runs", &runs, py::kw_only(), py::arg("thread_id"), py::arg("user_id"), py::arg("cursor"),
             py::arg("limit"))
        .def("threads", &threads, py::kw_only(), py::arg("user_id"), py::arg("cursor"), py::arg("limit"))
        .def("recovery_log", &recovery_log, py::arg("run_id"), py::kw_only(), py::arg("limit"))
        .def("stats",
             [](const StoreHandle& handle) {
                 return call(handle, [](const AsyncStore& store, const Tell& tell) {
                     return store.stats(Deadline::max(), told<StoreStats>(tell));
                 });
             })
        .def("check", &check, py::kw_only(), py::arg("deep"))
        .def("prune", &prune, py::kw_only(), py::arg("keep_last"), py::arg("age_max_seconds"), py::arg("expired"),
             py::arg("include_recovery_points"), py::arg("run_id"), py::arg("thread_id"), py::arg("user_id"),
             py::arg("dry_run"))
        .def("delete_runs", &delete_runs, py::kw_only(), py::arg("run_id"), py::arg("thread_id"), py::arg("user_id"),
             py::arg("dry_run"));
    py::class_<FaultyStoreHandle, StoreHandle, std::shared_ptr<FaultyStoreHandle>>(module, "FaultyStore")
        .def(py::init(&make_faulty), py::arg("store"))
        .def("inject", &inject, py::kw_only(), py::arg("call"), py::arg("nth"), py::arg("error"), py::arg("for_good"),
             py::arg("after_effect"))
        .def("heal", [](const FaultyStoreHandle& handle) { handle.faulty().heal(); })
        .def(
            "calls",
            [](const FaultyStoreHandle& handle, const std::string& call) {
                return handle.faulty().calls(store_call_of(call));
            },
            py::arg("call"));
}

}  // namespace cairn::python
